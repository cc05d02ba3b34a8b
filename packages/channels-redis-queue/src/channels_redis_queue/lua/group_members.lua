-- Purpose: lists the names in a group whose membership has not expired.
-- KEYS:    [1] group key.
-- ARGV:    [1] group_expiry in seconds.
-- Result:  the names, packed as a MessagePack array: one string is faster to write and read than
--          thousands. Those of a small group are sorted, so that equal groups give equal results; send
--          does the same.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local members = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf')
if #members <= 100 then
  table.sort(members)
end
return cmsgpack.pack(members)
