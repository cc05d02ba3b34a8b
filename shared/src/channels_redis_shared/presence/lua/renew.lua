-- Purpose: renews the lease of a process, and takes over those that are overdue.
-- KEYS:    [1] the leases: process -> microseconds when the lease is overdue; [2] the groups in
--          which the process has people.
-- ARGV:    [1] the process, [2] its lease as written last, or '', [3] seconds that a lease lasts,
--          [4] seconds that the keys live, [5] seconds since the latest renewal after which it is
--          late, [6] the most leases to take over, unless it is late; then groups to add.
-- Result:  'kept' if the lease was as written last, 'late' if it also was late, else 'lost'; the new
--          lease; the microseconds until the first lease of another process is overdue, or '' if
--          there is none; then the processes whose leases were overdue and are the caller's now.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease = string.format('%.0f', now + ARGV[3] * 1000000)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local state = 'lost'
if before and tonumber(before) == tonumber(ARGV[2]) then
  state = lease - before > ARGV[5] * 1000000 and 'late' or 'kept'
end
local result = {state, lease}
redis.call('ZADD', KEYS[1], lease, ARGV[1])
for i = 7, #ARGV do
  redis.call('SADD', KEYS[2], ARGV[i])
end
local most = state == 'kept' and ARGV[6] or 0
local overdue = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, most)
for i, process in ipairs(overdue) do
  redis.call('ZADD', KEYS[1], lease, process)
  result[3 + i] = process
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
local due = first[first[1] == ARGV[1] and 4 or 2]
result[3] = due and string.format('%.0f', due - now) or ''
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return result
