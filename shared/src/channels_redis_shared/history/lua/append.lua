-- Purpose: appends a message to the history of a group, and publishes it to the group's topic.
-- KEYS:    [1] the history, a stream; [2] the position of its latest entry.
-- ARGV:    [1] the number of entries that it keeps at least, [2] seconds that each lives, [3] seconds
--          that the position lives, [4] a nonce, [5] the message; to publish it, [6] 'PUBLISH' or
--          'SPUBLISH' and [7] the topic.
-- Result:  the position of the message, and of the one before it, or ''.
local previous = find_position() or ''
-- The first write: a server at maxmemory refuses it, before anything has changed.
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'n', ARGV[4], 'p', previous, 'm', ARGV[5])
local position = id .. '.' .. ARGV[4]
-- Fails on servers before 6.2, where only the number of entries is limited.
redis.pcall('XTRIM', KEYS[1], 'MINID', (redis.call('TIME')[1] - ARGV[2]) * 1000)
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], position, 'EX', ARGV[3])
if ARGV[6] then
  local data = '\193' .. position .. ' ' .. previous .. '\n' .. ARGV[5]
  if ARGV[6] == 'SPUBLISH' then
    redis.call('SPUBLISH', ARGV[7], data)
  else
    redis.call('PUBLISH', ARGV[7], data)
  end
end
return {position, previous}
