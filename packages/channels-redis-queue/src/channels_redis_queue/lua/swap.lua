-- Purpose: writes a value and returns the previous one, which shows a process whether the server has
--          lost its data, or others have marked it as gone.
-- KEYS:    [1] the key.
-- ARGV:    [1] the value, [2] its time to live in seconds.
-- Result:  the previous value, or nil.
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return before
