-- Purpose: reads the people of a group, from all processes that the caller knows to have some.
-- KEYS:    [1] the people of the group, [2] the processes that have people in the group, as for
--          change.lua; then the people of each process that the caller knows.
-- Result:  the time of the latest change in microseconds, or '0'; the processes; then for each
--          process that the caller knows its people, each a key and the metas.
local result = {redis.call('HGET', KEYS[1], '') or '0', redis.call('SMEMBERS', KEYS[2])}
for i = 3, #KEYS do
  result[i] = redis.call('HGETALL', KEYS[i])
end
return result
