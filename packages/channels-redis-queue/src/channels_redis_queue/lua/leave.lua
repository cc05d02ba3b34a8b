-- Purpose: tells a process that one of its channels leaves a group, in order with its messages, and
--          ends the membership if the group is on the same server.
-- KEYS:    [1] message key of the process, [2] bell, [3] leaves; if the group is on the same server,
--          [4] group key and [5] the key of the members behind the virtual channel.
-- ARGV:    [1] group_expiry in seconds, [2] the leave; if the group is on the same server, [3] the
--          plain name and [4] the name behind the virtual channel.
-- Result:  1.
local key, bell, leaves = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local score = time[1] + time[2] / 1000000
-- Removals come first: a server at maxmemory allows them, and then the rest as well.
if KEYS[4] then
  redis.call('ZREM', KEYS[4], ARGV[3])
  redis.call('SREM', KEYS[5], ARGV[4])
end
-- A leave need not outlive the membership.
redis.call('ZREMRANGEBYSCORE', leaves, '-inf', score - ARGV[1])
redis.call('ZADD', bell, 0, '')
redis.call('EXPIRE', bell, ARGV[1])
if redis.call('ZCOUNT', key, score, '+inf') > 0 then
  -- Behind every message, even one of a clock that is ahead.
  score = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] + 0.000001
end
-- An equal leave keeps its place, before the messages sent after it.
redis.call('ZADD', leaves, 'NX', score, ARGV[2])
redis.call('EXPIRE', leaves, ARGV[1])
return 1
