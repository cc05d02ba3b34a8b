-- Purpose: begins change.lua and reap.lua, and defines for them `at`, the time of the first change,
--          and `count_process`.
-- KEYS:    as for change.lua.
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
