-- Purpose: marks a process as gone that has sent no new heartbeat.
-- KEYS:    [1] the key of its heartbeats.
-- ARGV:    [1] the latest heartbeat that was seen, [2] the mark, [3] the mark's time to live in
--          seconds.
-- Result:  1 if the process is marked, 0 if it lives.
local heartbeat = redis.call('GET', KEYS[1])
if heartbeat == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  return 1
end
return heartbeat == ARGV[2] and 1 or 0
