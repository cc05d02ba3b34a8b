-- Purpose: removes some of the people whom a dead process has in a group.
-- KEYS:    as for change.lua.
-- ARGV:    [1] the process, [2] the maximum number of people to remove.
-- Result:  the number of people who are left to remove, the time of the first removal in
--          microseconds, each further one being 1 later; then the key and the metas of each person
--          who left, as no other process has that person.
-- common.lua is put before it.
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
