-- Purpose: lists the names in a group whose membership has not expired.
-- KEYS:    [1] group key.
-- ARGV:    [1] group_expiry in seconds.
-- Result:  the names, with a blank between two: one string is quicker to make and to read than
--          thousands, and no name contains a blank.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
return table.concat(redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf'), ' ')
