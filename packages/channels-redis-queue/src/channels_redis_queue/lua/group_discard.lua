-- Purpose: removes a plain name from a group, and the same name from those behind a virtual channel.
-- KEYS:    [1] group key; [2] the key of the members behind the virtual channel, if there is one.
-- ARGV:    [1] the name, [2] the name there.
-- Result:  server time: memberships older than this are over.
redis.call('ZREM', KEYS[1], ARGV[1])
if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[2])
end
local time = redis.call('TIME')
return string.format('%.6f', time[1] + time[2] / 1000000)
