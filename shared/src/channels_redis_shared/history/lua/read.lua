-- Purpose: reads the history of a group.
-- KEYS:    as for append.lua.
-- ARGV:    [1] the id of the first entry to read, or '' to read none; [2] the number of latest
--          entries to read, or 0; [3] the nonce of a first position, if there is none yet; [4]
--          seconds that the position lives.
-- Result:  the position of the latest entry; the entries from the id on; the latest entries, newest
--          first.
local position, is_stored = find_position()
if not position then
  local time = redis.call('TIME')
  position = string.format('%.0f-0.%s', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[3])
end
if not is_stored then
  redis.call('SET', KEYS[2], position, 'EX', ARGV[4])
end
local result = {position, {}, {}}
if ARGV[1] ~= '' then
  result[2] = redis.call('XRANGE', KEYS[1], ARGV[1], '+')
end
if ARGV[2] ~= '0' then
  result[3] = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
end
return result
