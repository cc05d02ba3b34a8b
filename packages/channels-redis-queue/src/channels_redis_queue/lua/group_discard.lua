-- Purpose: removes a plain name from a group, and the channel from the members behind a virtual one.
-- KEYS:    [1] group key; [2] the key of the members behind the virtual channel, if there is one;
--          [3] the message key of its process, if that is on the same server.
-- ARGV:    [1] the plain name, [2] the name behind the virtual channel, [3] the virtual channel.
-- Result:  two times of the server: memberships that began by the first have ended; and messages up to
--          the second were sent before. If the clock has gone back, they are those of the latest
--          membership and of the latest message.
local score = KEYS[2] and redis.call('ZSCORE', KEYS[1], ARGV[3])
local last = KEYS[3] and redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
redis.call('ZREM', KEYS[1], ARGV[1])
if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[2])
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
return {
  string.format('%.6f', math.max(now, score or 0)),
  string.format('%.6f', math.max(now, last or 0)),
}
