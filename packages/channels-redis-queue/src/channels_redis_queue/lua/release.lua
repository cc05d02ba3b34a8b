-- Purpose: puts claimed messages back, for another reader to take.
-- KEYS:    [1] message key, [2] bell, [3] the reader's claims.
-- ARGV:    [1] expiry in seconds; then the scores of the claims.
-- Result:  how many messages were put back.
local key, bell, claims = KEYS[1], KEYS[2], KEYS[3]
local returned = 0
for i = 2, #ARGV do
  local messages = redis.call('ZRANGEBYSCORE', claims, ARGV[i], ARGV[i])
  -- A removal comes first: a server at maxmemory allows it, and then the rest as well.
  redis.call('ZREMRANGEBYSCORE', claims, ARGV[i], ARGV[i])
  for _, message in ipairs(messages) do
    redis.call('ZADD', bell, 0, '')
    redis.call('ZADD', key, ARGV[i], message)
    returned = returned + 1
  end
end
if returned > 0 then
  redis.call('EXPIRE', bell, 10 * ARGV[1])
  redis.call('EXPIRE', key, ARGV[1])
end
return returned
