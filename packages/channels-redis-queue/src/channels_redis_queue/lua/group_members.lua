-- Purpose: lists the names in a group, after dropping expired ones.
-- KEYS:    [1] group key.
-- ARGV:    [1] group_expiry in seconds.
-- Result:  the names.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
