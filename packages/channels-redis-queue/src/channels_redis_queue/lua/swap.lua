-- Purpose: writes a value, and tells what stood there: a process learns from it whether the server
--          has lost what it wrote, or others have taken it for dead.
-- KEYS:    [1] the key.
-- ARGV:    [1] the value, [2] how many seconds it lives.
-- Result:  the value before, or nothing.
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return before
