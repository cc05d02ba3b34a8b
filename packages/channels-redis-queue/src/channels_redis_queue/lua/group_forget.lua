-- Purpose: removes a virtual channel from a group, unless it was renewed meanwhile.
-- KEYS:    [1] group key, [2] the key of the members behind the virtual channel.
-- ARGV:    [1] the virtual channel, [2] the score that its process wrote last.
-- Result:  how many names were removed.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('UNLINK', KEYS[2])
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
