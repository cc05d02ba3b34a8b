-- Purpose: adds messages to message keys that are not full; for a group, only if it still has the
--          names that the sender expects.
-- KEYS:    for a group, first its key; then for each destination its message key, and its bell, or the
--          message key again if its reader waits for none.
-- ARGV:    [1] expiry and [2] group_expiry in seconds, [3] the SHA-1 of the names that the group should
--          have, as group_members returns them, [4] a MessagePack array: for each message its destination,
--          the messages that may wait there, or 0 for a leave, and its body; then the bodies. Destinations
--          and bodies are counted from 1.
-- Result:  the positions, counted from 1, of the messages whose destination was full, and
--          {position, error} for those with a message key or bell of another type; or if the group has
--          other names, these names, and nothing was sent.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
-- Texts, since each command would make one again: the time, the highest score of an expired message,
-- and what scores that are not ahead of the clock are below. Lua's tostring would drop three digits.
local now_text, expired_at = string.format('%.17g', now), string.format('%.6f', now - ARGV[1])
local before_now = '(' .. now_text
-- A key of another type fails its own message, not the others, and the error names the key. Any other
-- error fails the whole call: the command is called again to raise it.
local function wrong_type(reply, command, key, ...)
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then
    redis.call(command, key, ...)
  end
  return reply.err .. ': ' .. key
end
local offset = #KEYS % 2
if offset == 1 then
  local since = string.format('%.17g', now - ARGV[2])
  local members = redis.pcall('ZRANGEBYSCORE', KEYS[1], since, '+inf')
  if members.err then
    return redis.error_reply(wrong_type(members, 'ZRANGEBYSCORE', KEYS[1], since, '+inf'))
  end
  if #members <= 100 then
    table.sort(members)
  end
  local names = cmsgpack.pack(members)
  if redis.sha1hex(names) ~= ARGV[3] then
    return names
  end
end
-- Returns the number of waiting messages in a message key, that of expired ones if there are any, and
-- the highest score if it is not behind the clock; or the error of a key of another type.
local function read_queue(key)
  local waiting = redis.pcall('ZCARD', key)
  if type(waiting) == 'table' then
    return {wrong = wrong_type(waiting, 'ZCARD', key)}
  end
  local queue = {waiting = waiting}
  -- Nearly always: no message has expired, and none has a score that is ahead of the clock.
  if waiting > 0 and redis.call('ZCOUNT', key, expired_at, before_now) ~= waiting then
    queue.expired = redis.call('ZCOUNT', key, '-inf', expired_at)
    queue.waiting = waiting - queue.expired
    if redis.call('ZCOUNT', key, now_text, '+inf') > 0 then
      queue.last = tonumber(redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2])
    end
  end
  return queue
end
local refused = {}
-- By destination: many messages of one call are for one process, and each key is read once.
local queues = {}
local messages = cmsgpack.unpack(ARGV[4])
for first = 1, #messages, 3 do
  local destination, capacity, body = unpack(messages, first, first + 2)
  local key, bell = KEYS[offset + 2 * destination - 1], KEYS[offset + 2 * destination]
  local queue = queues[destination]
  if not queue then
    queue = read_queue(key)
    queues[destination] = queue
  end
  local has_room = not queue.wrong and (capacity == 0 or queue.waiting < capacity)
  if has_room then
    if capacity == 0 then
      -- No full key keeps a member in; nor does a server at maxmemory, which allows a removal, and
      -- then the rest as well.
      redis.call('ZREMRANGEBYSCORE', key, '-inf', expired_at)
    end
    -- Before the message is added, so that a waiting reader consumes the bell and not the message.
    -- A server at maxmemory refuses this write, before anything has changed.
    local rung = not queue.added and bell ~= key and redis.pcall('ZADD', bell, 0, '')
    if type(rung) == 'table' then
      queue.wrong = wrong_type(rung, 'ZADD', bell, 0, '')
    elseif rung == 1 then
      -- Longer than the message, so that later ones need not renew it. If it is lost nevertheless,
      -- the take after a reader's next wait finds the message.
      redis.call('EXPIRE', bell, 10 * ARGV[1])
    end
  end
  if queue.wrong then
    refused[#refused + 1] = {(first + 2) / 3, queue.wrong}
  elseif not has_room then
    refused[#refused + 1] = (first + 2) / 3
  else
    -- First in, first out, even within one microsecond or behind a clock that is ahead.
    local score = queue.last and queue.last + 0.000001 or now
    local text = queue.last and string.format('%.17g', score) or now_text
    queue.waiting = queue.waiting + redis.call('ZADD', key, text, ARGV[4 + body])
    queue.last = score
    if not queue.added then
      queue.added = true
      redis.call('EXPIRE', key, ARGV[1])
      if queue.expired then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', expired_at)
        -- An equal message that had expired was not added, but is no longer expired.
        queue.waiting = redis.call('ZCARD', key)
      end
    end
  end
end
return refused
