-- Purpose: acknowledges, and moves messages into the reader's claims. The reader then reads all of
--          them, so that a reply lost on the way loses no message.
-- KEYS:    [1] message key, [2] bell, [3] the reader's claims.
-- ARGV:    [1] the number of messages to move, [2] expiry and [3] the claims' time to live, in seconds;
--          then the scores of acknowledged claims.
-- Result:  server time; 1 if no message was left behind.
local key, bell, claims = KEYS[1], KEYS[2], KEYS[3]
-- Bytes of claims above which no more are moved: a large backlog arrives in parts that a network
-- carries quickly. A part is returned again if its reply is lost.
local max_bytes = 1000000
-- Those that are moved to learn their size.
local sample = 10
for i = 4, #ARGV do
  redis.call('ZREMRANGEBYSCORE', claims, ARGV[i], ARGV[i])
end
local waiting = redis.call('ZCARD', key)
local wanted = math.min(waiting, ARGV[1])
local has_claims = redis.call('EXISTS', claims) == 1
local moved = 0
if wanted > 0 and wanted == waiting and waiting <= sample and not has_claims then
  -- Nearly always. It copies nothing, and a message may be large.
  redis.call('RENAME', key, claims)
  moved = waiting
elseif wanted > 0 then
  -- The number of the latest release has a score below 0.
  local unacknowledged = redis.call('ZRANGEBYSCORE', claims, 0, '+inf')
  local bytes = 0
  for _, message in ipairs(unacknowledged) do
    bytes = bytes + #message
  end
  while moved < wanted and bytes < max_bytes do
    local room = sample
    if bytes > 0 then
      -- As many as have room if the others are as large.
      room = math.ceil((max_bytes - bytes) * (moved + #unacknowledged) / bytes)
    end
    -- A hundred in a command: Lua passes only a few thousand arguments.
    local popped = redis.call('ZPOPMIN', key, math.min(wanted - moved, room, 100))
    local claimed = {}
    for i = 1, #popped, 2 do
      bytes = bytes + #popped[i]
      claimed[i], claimed[i + 1] = popped[i + 1], popped[i]
    end
    redis.call('ZADD', claims, unpack(claimed))
    moved = moved + #popped / 2
  end
end
if has_claims or moved > 0 then
  redis.call('EXPIRE', claims, ARGV[3])
end
if moved < waiting then
  if moved == 0 then
    -- A server at maxmemory allows the rest once a script has begun with a removal.
    redis.call('ZPOPMIN', key, 0)
  end
  redis.call('ZADD', bell, 0, '')
  redis.call('EXPIRE', bell, 10 * ARGV[2])
end
local time = redis.call('TIME')
return {string.format('%.6f', time[1] + time[2] / 1000000), moved == waiting and 1 or 0}
