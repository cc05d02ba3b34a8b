-- Purpose: makes a name a member of a group, or renews its membership; drops expired members.
-- KEYS:    [1] group key; for a virtual channel also [2] the key of the members behind it.
-- ARGV:    [1] the name, [2] group_expiry in seconds; then the members behind it that are new.
-- Result:  the score of the name: the server time; for a virtual channel, later than its last score.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
-- If the clock has gone back, a leave of the last membership must not end the new one.
local last = KEYS[2] and redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], last and math.max(now, last + 0.000001) or now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if #ARGV > 2 then
  redis.call('SADD', KEYS[2], unpack(ARGV, 3))
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return redis.call('ZSCORE', KEYS[1], ARGV[1])
