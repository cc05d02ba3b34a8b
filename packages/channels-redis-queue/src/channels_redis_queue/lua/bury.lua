-- Purpose: marks a process as gone that has not given a new sign of life.
-- KEYS:    [1] the key of its signs of life.
-- ARGV:    [1] the sign that it gave last, [2] the mark, [3] how many seconds it stays.
-- Result:  1 if the process is marked, 0 if it lives.
local sign = redis.call('GET', KEYS[1])
if sign == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  return 1
end
return sign == ARGV[2] and 1 or 0
