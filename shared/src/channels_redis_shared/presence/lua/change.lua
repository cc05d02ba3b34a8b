-- Purpose: writes people that processes have in a group, and removes those that they have no more.
-- KEYS:    [1] the people of the group: key -> for each process that has the person a line of its
--          name and the metas, a JSON array; and '' -> the time of the latest change.
-- ARGV:    [1] seconds that the key lives; then for each change the process, the key of a person,
--          and the metas, or '' to remove the person.
-- Result:  the time of the first change in microseconds, each further one being 1 later; then for
--          each change whether the process had the person before, 1 or 0, and the lines of others.
local time = redis.call('TIME')
-- Anything may stand there that is no time.
local latest = tonumber(redis.call('HGET', KEYS[1], '') or 0)
if not (latest and latest < 9007199254740992) then
  latest = 0
end
local at = math.max(time[1] * 1000000 + time[2], latest + 1)
local result = {at}
for i = 2, #ARGV, 3 do
  local key, own, metas = ARGV[i + 1], ARGV[i] .. '[', ARGV[i + 2]
  local had, lines = 0, {}
  for line in string.gmatch(redis.call('HGET', KEYS[1], key) or '', '[^\n]+') do
    if string.sub(line, 1, #own) == own then
      had = 1
    elseif string.find(line, '^%x+%[') then
      lines[#lines + 1] = line
    end
  end
  result[#result + 1] = had
  result[#result + 1] = table.concat(lines, '\n')
  if metas ~= '' then
    lines[#lines + 1] = ARGV[i] .. metas
  end
  if #lines > 0 then
    redis.call('HSET', KEYS[1], key, table.concat(lines, '\n'))
  else
    redis.call('HDEL', KEYS[1], key)
  end
end
redis.call('HSET', KEYS[1], '', string.format('%.0f', at + (#ARGV - 1) / 3))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return result
