-- Purpose: counts the names in a group whose membership has not expired.
-- KEYS:    [1] group key.
-- ARGV:    [1] group_expiry in seconds.
-- Result:  the number of names.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
return redis.call('ZCOUNT', KEYS[1], now - ARGV[1], '+inf')
