-- Purpose: tells a process that one of its channels leaves a group, in order with its messages.
-- KEYS:    [1] message key of the process, [2] bell, [3] leaves.
-- ARGV:    [1] group_expiry in seconds, [2] the leave, [3] how many leaves are kept at the most.
-- Result:  1.
local key, bell, leaves = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local score = time[1] + time[2] / 1000000
redis.call('ZADD', bell, 0, '')
redis.call('EXPIRE', bell, ARGV[1])
-- A membership lives no longer than this, and so its end need not either. Those that a process
-- which has died will never read are bounded as well.
redis.call('ZREMRANGEBYSCORE', leaves, '-inf', score - ARGV[1])
redis.call('ZREMRANGEBYRANK', leaves, 0, -ARGV[3])
if redis.call('ZCOUNT', key, score, '+inf') > 0 then
  -- Behind every message that is there, even behind one of a clock that is ahead.
  score = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] + 0.000001
end
redis.call('ZADD', leaves, score, ARGV[2])
redis.call('EXPIRE', leaves, ARGV[1])
return 1
