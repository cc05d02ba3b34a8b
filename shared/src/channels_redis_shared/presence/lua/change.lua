-- Purpose: writes the people of a process in a group, and removes those that it no longer has.
-- KEYS:    [1] the people of the process in the group: key -> metas; [2] the people of the group:
--          key -> number of processes, and '' -> the time of the latest change; [3] the processes
--          that have people in the group.
-- ARGV:    [1] the process, [2] seconds that the keys of the group live, [3] those that the people
--          of the process live; then for each change the key of a person and the metas, or '' to
--          remove the person.
-- Result:  the time of the first change in microseconds, each further one being 1 later; then what
--          each change did: one of the names below.
--          joined, left: the person is new to the group, or is no longer in it
--          alone: the person was in this process, and is in no other
--          shared: the person was in this process, and is in others, too
--          absent: the person was in no process
--          none: nothing that others have to know
local time = redis.call('TIME')
-- Anything may stand there that is no time.
local latest = tonumber(redis.call('HGET', KEYS[2], '') or 0)
if not (latest and latest < 9007199254740992) then
  latest = 0
end
local at = math.max(time[1] * 1000000 + time[2], latest + 1)
-- Returns the number of processes that have a person; a count that can't be read begins anew.
local function count_process(key, difference)
  local count = redis.pcall('HINCRBY', KEYS[2], key, difference)
  if type(count) == 'table' then
    count = math.max(difference, 0)
    redis.call('HSET', KEYS[2], key, count)
  end
  return count
end
local result = {at}
for i = 4, #ARGV, 2 do
  local key, metas = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', KEYS[1], key)
  local change = 'none'
  if metas == '' then
    if before then
      redis.call('HDEL', KEYS[1], key)
      if count_process(key, -1) < 1 then
        redis.call('HDEL', KEYS[2], key)
        change = 'left'
      end
    elseif not redis.call('HGET', KEYS[2], key) then
      change = 'absent'
    end
  else
    redis.call('HSET', KEYS[1], key, metas)
    local others = count_process(key, before and 0 or 1) > 1
    if before then
      change = others and 'shared' or 'alone'
    elseif not others then
      change = 'joined'
    end
  end
  result[#result + 1] = change
end
redis.call('HSET', KEYS[2], '', string.format('%.0f', at + (#ARGV - 3) / 2))
redis.call('EXPIRE', KEYS[2], ARGV[2])
if redis.call('EXPIRE', KEYS[1], ARGV[3]) == 1 then
  redis.call('SADD', KEYS[3], ARGV[1])
else
  redis.call('SREM', KEYS[3], ARGV[1])
end
redis.call('EXPIRE', KEYS[3], ARGV[2])
return result
