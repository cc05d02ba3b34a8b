-- Purpose: removes a plain name from a group.
-- KEYS:    [1] group key.
-- ARGV:    [1] the name.
-- Result:  server time: memberships older than this are over.
redis.call('ZREM', KEYS[1], ARGV[1])
local time = redis.call('TIME')
return string.format('%.6f', time[1] + time[2] / 1000000)
