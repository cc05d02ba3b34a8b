-- Purpose: moves messages into the reader's claims, and returns all claims that the reader has
--          not acknowledged, so that a reply lost on the way loses no message.
-- KEYS:    [1] message key, [2] bell, [3] the reader's claims, [4] leaves.
-- ARGV:    [1] how many messages to move, [2] expiry and [3] the claims' time to live, in seconds,
--          [4] how many scores follow; these scores of acknowledged claims; acknowledged leaves.
-- Result:  server time; claims and scores, by score; leaves and scores that come before the first
--          message left behind, by score. Expired messages are among the claims.
local key, bell, claims, leaves = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local last_score = 4 + ARGV[4]
for i = 5, last_score do
  redis.call('ZREMRANGEBYSCORE', claims, ARGV[i], ARGV[i])
end
for i = last_score + 1, #ARGV do
  redis.call('ZREM', leaves, ARGV[i])
end
-- The first write is a removal, which a server at maxmemory allows; then it allows the rest.
local taken = redis.call('ZPOPMIN', key, ARGV[1])
-- A hundred in a command: Lua hands no more than some thousand arguments over.
for first = 1, #taken, 200 do
  local claimed = {}
  for i = first, math.min(first + 199, #taken), 2 do
    claimed[#claimed + 1] = taken[i + 1]
    claimed[#claimed + 1] = taken[i]
  end
  redis.call('ZADD', claims, unpack(claimed))
end
local unacknowledged = redis.call('ZRANGE', claims, 0, -1, 'WITHSCORES')
if #unacknowledged > 0 then
  redis.call('EXPIRE', claims, ARGV[3])
end
local limit = '+inf'
if #taken == 2 * ARGV[1] and redis.call('EXISTS', key) == 1 then
  redis.call('ZADD', bell, 0, '')
  redis.call('EXPIRE', bell, 10 * ARGV[2])
  limit = taken[#taken] or '-inf'
end
local time = redis.call('TIME')
return {
  string.format('%.6f', time[1] + time[2] / 1000000),
  unacknowledged,
  redis.call('ZRANGEBYSCORE', leaves, '-inf', limit, 'WITHSCORES'),
}
