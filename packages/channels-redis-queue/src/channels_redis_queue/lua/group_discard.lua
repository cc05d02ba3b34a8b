-- Purpose: removes a plain name from a group, and the channel from the members behind a virtual one.
-- KEYS:    [1] group key; [2] the key of the members behind the virtual channel, if there is one.
-- ARGV:    [1] the plain name, [2] the name behind the virtual channel, [3] the name by which the
--          channel's process is in the group.
-- Result:  server time, or if the clock has gone back, the score of that name; memberships that are
--          not newer have ended.
local score = KEYS[2] and redis.call('ZSCORE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[1], ARGV[1])
if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[2])
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
if score and tonumber(score) > now then
  return score
end
return string.format('%.6f', now)
