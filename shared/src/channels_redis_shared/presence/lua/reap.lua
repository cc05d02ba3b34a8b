-- Purpose: removes some of the people whom a dead process has in a group.
-- KEYS:    as for change.lua.
-- ARGV:    [1] the process, [2] the maximum number of people to remove.
-- Result:  the number of people who are left to remove, the time of the first removal in
--          microseconds, each further one being 1 later; then the key and the metas of each person
--          who left, as no other process has that person.
local time = redis.call('TIME')
-- Anything may stand there that is no time.
local latest = tonumber(redis.call('HGET', KEYS[2], '') or 0)
if not (latest and latest < 9007199254740992) then
  latest = 0
end
-- Returns the number of processes that have a person; a count that can't be read begins anew.
local function count_process(key, difference)
  local count = redis.pcall('HINCRBY', KEYS[2], key, difference)
  if type(count) == 'table' then
    count = math.max(difference, 0)
    redis.call('HSET', KEYS[2], key, count)
  end
  return count
end
local at = math.max(time[1] * 1000000 + time[2], latest + 1)
local keys = redis.call('HKEYS', KEYS[1])
local count = math.min(#keys, tonumber(ARGV[2]))
local result = {#keys - count, at}
for i = 1, count do
  local metas = redis.call('HGET', KEYS[1], keys[i])
  redis.call('HDEL', KEYS[1], keys[i])
  if count_process(keys[i], -1) < 1 then
    redis.call('HDEL', KEYS[2], keys[i])
    result[#result + 1] = keys[i]
    result[#result + 1] = metas
  end
end
if count > 0 then
  redis.call('HSET', KEYS[2], '', string.format('%.0f', at + count))
end
if count == #keys then
  redis.call('SREM', KEYS[3], ARGV[1])
end
return result
