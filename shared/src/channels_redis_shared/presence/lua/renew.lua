-- Purpose: renews the lease of a process, and takes over one that is overdue.
-- KEYS:    [1] the leases: process -> microseconds when the lease is overdue; [2] the groups in
--          which the process has people.
-- ARGV:    [1] the process, [2] its lease as written last, or '', [3] seconds that a lease lasts,
--          [4] seconds that the keys live; then groups to add.
-- Result:  1 if the lease was as written last, else 0; the new lease; the microseconds until the
--          first lease of another process is overdue, or '' if there is none; then, if such a lease
--          was overdue and is the caller's now, that process.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local lease = string.format('%.0f', now + ARGV[3] * 1000000)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local result = {before and tonumber(before) == tonumber(ARGV[2]) and 1 or 0, lease}
redis.call('ZADD', KEYS[1], lease, ARGV[1])
for i = 5, #ARGV do
  redis.call('SADD', KEYS[2], ARGV[i])
end
local overdue = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
if overdue then
  redis.call('ZADD', KEYS[1], lease, overdue)
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
local due = first[first[1] == ARGV[1] and 4 or 2]
result[3] = due and string.format('%.0f', due - now) or ''
result[4] = overdue
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return result
