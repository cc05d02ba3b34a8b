-- Purpose: adds messages to message keys that are not full; for a group, only if it still has the
--          names that the sender expects.
-- KEYS:    for a group, first its key; then for each destination its message key, its bell, or the
--          message key again if its reader waits for none, and its counts, or the message key again
--          if all messages there count together.
-- ARGV:    [1] expiry and [2] group_expiry in seconds, [3] the names that the group should have, as
--          group_members returns them; then for each message its destination, counted from 1, the
--          capacity there, or 0 for a leave, the field of its channel or group in the counts, and the
--          message.
-- Result:  the positions, counted from 1, of the messages whose destination was full, and
--          {position, error} for those with a message key, bell or counts of another type; or if the
--          group has other names, these names, and nothing was sent.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
-- A key of another type fails its own message, not the others, and the error names the key. Any other
-- error fails the whole call: the command is called again to raise it.
local function is_wrong_type(reply)
  return type(reply) == 'table' and reply.err and string.find(reply.err, 'WRONGTYPE', 1, true)
end
local offset = #KEYS % 3
if offset == 1 then
  local members = redis.pcall('ZRANGEBYSCORE', KEYS[1], now - ARGV[2], '+inf')
  if is_wrong_type(members) then
    return redis.error_reply(members.err .. ': ' .. KEYS[1])
  elseif members.err then
    redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[2], '+inf')
  end
  if #members <= 100 then
    table.sort(members)
  end
  local names = table.concat(members, ' ')
  if names ~= ARGV[3] then
    return names
  end
end
-- Returns the numbers of waiting and of expired messages in a message key, and the highest score if it
-- is not behind the clock; or the error of a key of another type.
local function read_queue(key)
  local waiting = redis.pcall('ZCARD', key)
  if is_wrong_type(waiting) then
    return {wrong = waiting.err .. ': ' .. key}
  elseif type(waiting) == 'table' then
    redis.call('ZCARD', key)
  end
  -- Nearly always: no message has expired, and none has a score that is ahead of the clock.
  if
    waiting == 0
    or redis.call('ZCOUNT', key, now - ARGV[1], string.format('(%.6f', now)) == waiting
  then
    return {waiting = waiting, expired = 0}
  end
  local expired = redis.call('ZCOUNT', key, '-inf', now - ARGV[1])
  local found = {waiting = waiting - expired, expired = expired}
  if redis.call('ZCOUNT', key, now, '+inf') > 0 then
    found.last = tonumber(redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2])
  end
  return found
end
-- The channels of a process share a message key. While fewer messages wait there than half of a
-- channel's capacity, it may add more. From then on the messages of each channel or group are counted,
-- and each may add the other half whatever waits: one that is not read is full at its capacity, and
-- one that is flooded leaves room for the others, up to ten times the capacity. Returns whether there
-- is room; and for a message that is counted, whether it is the first since half of the capacity was
-- free.
local function find_room(queue, capacity, key, counts, field)
  local half = math.floor(capacity / 2)
  if counts == key then
    return queue.waiting < capacity
  elseif queue.waiting < half then
    return true
  elseif queue.waiting >= 10 * capacity then
    return false
  elseif queue.waiting == half then
    return true, true
  end
  local added = redis.pcall('HGET', counts, field)
  if is_wrong_type(added) then
    queue.wrong = added.err .. ': ' .. counts
    return false
  end
  return queue.waiting < capacity or (tonumber(added) or 0) < capacity - half, false
end
local refused = {}
-- By destination: many messages of one call are for one process, and each key is read once.
local found = {}
for i = 1, (#ARGV - 3) / 4 do
  local destination, field, message = ARGV[4 * i], ARGV[4 * i + 2], ARGV[4 * i + 3]
  local first_key = offset + 3 * destination - 2
  local key, bell, counts = KEYS[first_key], KEYS[first_key + 1], KEYS[first_key + 2]
  local queue = found[destination]
  if not queue then
    queue = read_queue(key)
    found[destination] = queue
  end
  local has_room, is_first = false, nil
  if not queue.wrong and ARGV[4 * i + 1] == '0' then
    -- No full key keeps a member in; nor does a server at maxmemory, which allows a removal, and then
    -- the rest as well.
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[1])
    has_room = true
  elseif not queue.wrong then
    has_room, is_first = find_room(queue, tonumber(ARGV[4 * i + 1]), key, counts, field)
  end
  if has_room then
    -- Before the message is added, so that a waiting reader consumes the bell and not the message.
    -- A server at maxmemory refuses this write, before anything has changed.
    local rung = not queue.added and bell ~= key and redis.pcall('ZADD', bell, 0, '')
    if is_wrong_type(rung) then
      queue.wrong = rung.err .. ': ' .. bell
    elseif type(rung) == 'table' then
      redis.call('ZADD', bell, 0, '')
    elseif rung == 1 then
      -- Longer than the message, so that later ones need not renew it. If it is lost nevertheless,
      -- the take after a reader's next wait finds the message.
      redis.call('EXPIRE', bell, 10 * ARGV[1])
    end
  end
  if queue.wrong then
    refused[#refused + 1] = {i, queue.wrong}
  elseif not has_room then
    refused[#refused + 1] = i
  else
    if is_first then
      redis.call('UNLINK', counts)
    end
    if is_first ~= nil then
      redis.call('HINCRBY', counts, field, 1)
      redis.call('EXPIRE', counts, ARGV[1])
    end
    -- First in, first out, even within one microsecond or behind a clock that is ahead.
    local score = queue.last and queue.last + 0.000001 or now
    -- Numbers go to redis.call as they are: Lua's tostring would drop the last three digits.
    queue.waiting = queue.waiting + redis.call('ZADD', key, score, message)
    queue.last = score
    if not queue.added then
      queue.added = true
      redis.call('EXPIRE', key, ARGV[1])
      if queue.expired > 0 then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[1])
        -- An equal message that had expired was not added, but is no longer expired.
        queue.waiting = redis.call('ZCARD', key)
      end
    end
  end
end
return refused
