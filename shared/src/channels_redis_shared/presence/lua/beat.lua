-- Purpose: proves that a process lives, and finds silent ones.
-- KEYS:    [1] the heartbeats: process -> its time in microseconds.
-- ARGV:    [1] the process, [2] its heartbeat as written last, or '', [3] seconds that the key lives,
--          [4] seconds after which a process is silent.
-- Result:  the heartbeat; 1 if the one before was as written last, else 0; the silent processes.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local heartbeat = string.format('%.0f', now)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], heartbeat, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
local silent = string.format('%.0f', now - ARGV[4] * 1000000)
return {
  heartbeat,
  before and tonumber(before) == tonumber(ARGV[2]) and 1 or 0,
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', silent, 'LIMIT', 0, 1000),
}
