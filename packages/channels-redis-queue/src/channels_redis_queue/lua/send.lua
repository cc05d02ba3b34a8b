-- Purpose: adds one message to each of several message keys, unless the key is full.
-- KEYS:    for each destination its message key and its bell; the message key again if its reader
--          waits for no bell.
-- ARGV:    [1] expiry in seconds; then for each destination its capacity and the message.
-- Result:  the positions, counted from 1, of the destinations that were full.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local full = {}
for i = 1, #KEYS / 2 do
  local key, bell = KEYS[2 * i - 1], KEYS[2 * i]
  local waiting = redis.call('ZCARD', key)
  local expired = 0
  if waiting > 0 then
    expired = redis.call('ZCOUNT', key, '-inf', now - ARGV[1])
  end
  if waiting - expired >= tonumber(ARGV[2 * i]) then
    full[#full + 1] = i
  else
    -- Rung before the message is there, so that waking a reader consumes the bell and not the
    -- message. A server at maxmemory refuses this write, before anything has changed.
    if bell ~= key and redis.call('ZADD', bell, 0, '') == 1 then
      -- Longer than the message, so that later ones need not renew it. Should it be lost all the
      -- same, the take after a reader's next wait finds what it rang for.
      redis.call('EXPIRE', bell, 10 * ARGV[1])
    end
    local score = now
    if waiting > 0 and redis.call('ZCOUNT', key, now, '+inf') > 0 then
      -- First in, first out, even within one microsecond or behind a clock that is ahead.
      score = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] + 0.000001
    end
    -- Numbers go to redis.call as they are: Lua's tostring would drop the last three digits.
    redis.call('ZADD', key, score, ARGV[2 * i + 1])
    redis.call('EXPIRE', key, ARGV[1])
    if expired > 0 then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[1])
    end
  end
end
return full
