-- Purpose: removes a plain name from a group, and the channel from the members behind a virtual one.
-- KEYS:    [1] group key; [2] the key of the members behind the virtual channel, if there is one.
-- ARGV:    [1] the plain name, [2] the name behind the virtual channel.
-- Result:  server time; memberships that are older have ended.
redis.call('ZREM', KEYS[1], ARGV[1])
if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[2])
end
local time = redis.call('TIME')
return string.format('%.6f', time[1] + time[2] / 1000000)
