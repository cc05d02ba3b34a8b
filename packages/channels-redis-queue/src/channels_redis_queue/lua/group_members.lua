-- Purpose: lists the names in a group whose membership has not expired.
-- KEYS:    [1] group key.
-- ARGV:    [1] group_expiry in seconds.
-- Result:  the names, with a blank between two: one string is quicker to make and to read than
--          thousands, and no name contains a blank. Those of a small group are in the alphabet's
--          order, so that equal groups give equal results; send does the same.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local members = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf')
if #members <= 100 then
  table.sort(members)
end
return table.concat(members, ' ')
