-- Purpose: removes a name from a group, unless it was renewed meanwhile.
-- KEYS:    [1] group key; for a virtual channel also [2] the key of the members behind it.
-- ARGV:    [1] the name, [2] the score that it had.
-- Result:  the number of names removed.
-- As numbers: with protocol 3, a client gets and writes them otherwise than a script.
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) == tonumber(ARGV[2]) then
  if KEYS[2] then
    redis.call('UNLINK', KEYS[2])
  end
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
