-- Purpose: changes a number that tells a process whether a node of a Cluster has lost data.
-- KEYS:    [1] the number.
-- ARGV:    [1] the new number, [2] seconds that it lives.
-- Result:  the number before, if there is one.
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return before
