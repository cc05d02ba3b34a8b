-- Purpose: puts claimed messages back for another reader to take, once, however often it arrives.
-- KEYS:    [1] message key, [2] bell, [3] the reader's claims.
-- ARGV:    [1] expiry and [2] the claims' time to live, in seconds, [3] the number of this release
--          among those of its reader, counted from 1; then the scores of the claims.
-- Result:  the number of messages put back; nil if this release or a later one was executed
--          before.
local key, bell, claims = KEYS[1], KEYS[2], KEYS[3]
-- The number is kept among the claims, below all scores that are times. Without it, a release that
-- the network delivers late would put back messages that the reader has taken again.
if -(redis.call('ZSCORE', claims, '') or 0) >= tonumber(ARGV[3]) then
  return false
end
-- Fail here if a key is of another type: later, removed claims would be lost.
redis.call('ZCARD', bell)
redis.call('ZCARD', key)
local returned = 0
for i = 4, #ARGV do
  local messages = redis.call('ZRANGEBYSCORE', claims, ARGV[i], ARGV[i])
  -- A removal comes first: a server at maxmemory allows it, and then the rest as well.
  redis.call('ZREMRANGEBYSCORE', claims, ARGV[i], ARGV[i])
  for _, message in ipairs(messages) do
    redis.call('ZADD', bell, 0, '')
    redis.call('ZADD', key, ARGV[i], message)
    returned = returned + 1
  end
end
redis.call('ZADD', claims, -ARGV[3], '')
redis.call('EXPIRE', claims, ARGV[2])
if returned > 0 then
  redis.call('EXPIRE', bell, 10 * ARGV[1])
  redis.call('EXPIRE', key, ARGV[1])
end
return returned
