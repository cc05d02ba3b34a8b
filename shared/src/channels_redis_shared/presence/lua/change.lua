-- Purpose: writes people that a process has in a group, and removes those that it has no more. So
--          each process with people has a heartbeat, and each group with people is among the groups.
-- KEYS:    [1] the people of the group: key -> for each process that has the person a line of its
--          name and the metas, a JSON array; and '' -> the time of the latest change; [2] the
--          heartbeats; [3] the groups that have people: group -> 1.
-- ARGV:    [1] seconds that the people live, [2] seconds that the groups live, [3] the group, [4] the
--          process, [5] its gone mark, or '': nothing is changed if it has a heartbeat again, and it
--          is one of the others; then for each change the key of a person, and the metas, or '' to
--          remove the person.
-- Result:  the time of the first change in microseconds, each further one being 1 later; then for
--          each change whether the process had the person before, 1 or 0, and the lines of others.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- Anything may stand there that is no time.
local latest = tonumber(redis.call('HGET', KEYS[1], '') or 0)
if not (latest and latest < 9007199254740992) then
  latest = 0
end
local at = math.max(now, latest + 1)
local heartbeat = redis.call('ZSCORE', KEYS[2], ARGV[4])
local is_due = ARGV[5] == '' or heartbeat and tonumber(heartbeat) == tonumber(ARGV[5])
local own = ARGV[4] .. '['
local result = {at}
for i = 6, #ARGV, 2 do
  local key, metas = ARGV[i], ARGV[i + 1]
  local had, lines = 0, {}
  for line in string.gmatch(redis.call('HGET', KEYS[1], key) or '', '[^\n]+') do
    if is_due and string.sub(line, 1, #own) == own then
      had = 1
    elseif string.find(line, '^%x+%[') then
      lines[#lines + 1] = line
    end
  end
  result[#result + 1] = had
  result[#result + 1] = table.concat(lines, '\n')
  if metas ~= '' then
    lines[#lines + 1] = ARGV[4] .. metas
  end
  if is_due and #lines > 0 then
    redis.call('HSET', KEYS[1], key, table.concat(lines, '\n'))
  elseif is_due then
    redis.call('HDEL', KEYS[1], key)
  end
end
if not is_due then
  return result
end
redis.call('HSET', KEYS[1], '', string.format('%.0f', at + (#ARGV - 5) / 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
-- A gone mark has half a microsecond more.
local lives = heartbeat and tonumber(heartbeat) % 1 == 0
if ARGV[5] == '' and not lives then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[4])
end
if redis.call('HLEN', KEYS[1]) > 1 then
  redis.call('HSET', KEYS[3], ARGV[3], 1)
  redis.call('EXPIRE', KEYS[3], ARGV[2])
else
  redis.call('HDEL', KEYS[3], ARGV[3])
end
return result
