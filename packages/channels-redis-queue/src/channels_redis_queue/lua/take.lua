-- Purpose: moves messages into the reader's claims, and returns all claims that the reader has
--          not acknowledged, so that a reply lost on the way loses no message.
-- KEYS:    [1] message key, [2] bell, [3] the reader's claims.
-- ARGV:    [1] the number of messages to move, [2] expiry and [3] the claims' time to live, in seconds;
--          then the scores of acknowledged claims.
-- Result:  server time; claims and scores, by score; 1 if no message was left behind. Expired messages
--          are among the claims.
local key, bell, claims = KEYS[1], KEYS[2], KEYS[3]
-- Bytes of claims above which no more are moved: a large backlog arrives in parts that a network
-- carries quickly. A part is returned again if its reply is lost.
local max_bytes = 1000000
for i = 4, #ARGV do
  redis.call('ZREMRANGEBYSCORE', claims, ARGV[i], ARGV[i])
end
-- The number of the latest release has a score below 0.
local unacknowledged = redis.call('ZRANGEBYSCORE', claims, 0, '+inf', 'WITHSCORES')
local bytes = 0
for i = 1, #unacknowledged, 2 do
  bytes = bytes + #unacknowledged[i]
end
-- The first write is a removal, which a server at maxmemory allows; then it allows the rest.
local taken = {}
local count, asked = tonumber(ARGV[1]), 0
while #taken == 2 * asked and asked < count and bytes < max_bytes do
  -- First ten to learn their size, then as many as have room if the others are as large.
  local room = 10
  if bytes > 0 then
    room = math.ceil((max_bytes - bytes) * (asked + #unacknowledged / 2) / bytes)
  end
  room = math.min(count - asked, room)
  local popped = redis.call('ZPOPMIN', key, room)
  asked = asked + room
  for i = 1, #popped do
    taken[#taken + 1] = popped[i]
    if i % 2 == 1 then
      bytes = bytes + #popped[i]
    end
  end
end
-- A hundred in a command: Lua passes only a few thousand arguments.
for first = 1, #taken, 200 do
  local claimed = {}
  for i = first, math.min(first + 199, #taken), 2 do
    claimed[#claimed + 1] = taken[i + 1]
    claimed[#claimed + 1] = taken[i]
  end
  redis.call('ZADD', claims, unpack(claimed))
end
if #unacknowledged == 0 then
  unacknowledged = taken
elseif #taken > 0 then
  unacknowledged = redis.call('ZRANGEBYSCORE', claims, 0, '+inf', 'WITHSCORES')
end
if #unacknowledged > 0 then
  redis.call('EXPIRE', claims, ARGV[3])
end
local is_empty = 1
if #taken == 2 * asked and redis.call('EXISTS', key) == 1 then
  if asked == 0 then
    redis.call('ZPOPMIN', key, 0)
  end
  redis.call('ZADD', bell, 0, '')
  redis.call('EXPIRE', bell, 10 * ARGV[2])
  is_empty = 0
end
local time = redis.call('TIME')
return {string.format('%.6f', time[1] + time[2] / 1000000), unacknowledged, is_empty}
