-- Purpose: adds messages to message keys, but to none that is full; with a guard only if a group has
--          the names that the sender knows of.
-- KEYS:    [1] with a guard, the group key; then for each destination its message key, its bell, or
--          the message key again if its reader waits for none, and its counts, or the message key
--          again if all that waits there counts together.
-- ARGV:    [1] expiry and [2] group_expiry in seconds, [3] the names that the group should have, as
--          group_members returns them; then for each message its destination, counted from 1, how
--          many may wait there, a number for its channel or group, and the message.
-- Result:  the positions, counted from 1, of the messages whose destination was full, and
--          {position, error} for those whose key holds no queue, or whose bell is none; or if the
--          group has other names, these, and nothing was sent.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
-- A key of another type fails its own sender, not those of the others, and the error
-- names the key. Any other error is one of all: the command is called again, so as to raise it.
local function is_wrong_type(reply)
  return type(reply) == 'table' and reply.err and string.find(reply.err, 'WRONGTYPE', 1, true)
end
local guards = #KEYS % 3
if guards == 1 then
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
-- Returns what there is in a message key: how many messages have not expired and how many have; the
-- highest score if it is not behind the clock; or what is wrong with the key.
local function look_at(key)
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
-- The channels of a process share a message key. While less waits there than a channel may have, it
-- may add to it. From half of its capacity on it counts how many each channel or group adds, and each
-- may add the other half whatever waits: so one that is not read is full at its capacity, and one
-- that is flooded leaves room for the others, up to ten times the capacity. Returns whether there is
-- room; and for a message that counts, whether it is the first to do so since half of the capacity
-- was free.
local function find_room(there, capacity, key, counts, counted)
  local half = math.floor(capacity / 2)
  if counts == key then
    return there.waiting < capacity
  elseif there.waiting < half then
    return true
  elseif there.waiting >= 10 * capacity then
    return false
  elseif there.waiting == half then
    return true, true
  end
  local added = redis.pcall('HGET', counts, counted)
  if is_wrong_type(added) then
    there.wrong = added.err .. ': ' .. counts
    return false
  end
  return there.waiting < capacity or (tonumber(added) or 0) < capacity - half, false
end
local refused = {}
-- By destination. Many messages of one call are for one process: each key is looked at once.
local found = {}
for i = 1, (#ARGV - 3) / 4 do
  local destination, counted, message = ARGV[4 * i], ARGV[4 * i + 2], ARGV[4 * i + 3]
  local first_key = guards + 3 * destination - 2
  local key, bell, counts = KEYS[first_key], KEYS[first_key + 1], KEYS[first_key + 2]
  local there = found[destination]
  if not there then
    there = look_at(key)
    found[destination] = there
  end
  local has_room, is_first = false, nil
  if not there.wrong then
    has_room, is_first = find_room(there, tonumber(ARGV[4 * i + 1]), key, counts, counted)
  end
  if has_room then
    -- Rung before the message is there, so that waking a reader consumes the bell and not the
    -- message. A server at maxmemory refuses this write, before anything has changed.
    local rung = not there.added and bell ~= key and redis.pcall('ZADD', bell, 0, '')
    if is_wrong_type(rung) then
      there.wrong = rung.err .. ': ' .. bell
    elseif type(rung) == 'table' then
      redis.call('ZADD', bell, 0, '')
    elseif rung == 1 then
      -- Longer than the message, so that later ones need not renew it. Should it be lost all the
      -- same, the take after a reader's next wait finds what it rang for.
      redis.call('EXPIRE', bell, 10 * ARGV[1])
    end
  end
  if there.wrong then
    refused[#refused + 1] = {i, there.wrong}
  elseif not has_room then
    refused[#refused + 1] = i
  else
    if is_first then
      redis.call('UNLINK', counts)
    end
    if is_first ~= nil then
      redis.call('HINCRBY', counts, counted, 1)
      redis.call('EXPIRE', counts, ARGV[1])
    end
    -- First in, first out, even within one microsecond or behind a clock that is ahead.
    local score = there.last and there.last + 0.000001 or now
    -- Numbers go to redis.call as they are: Lua's tostring would drop the last three digits.
    there.waiting = there.waiting + redis.call('ZADD', key, score, message)
    there.last = score
    if not there.added then
      there.added = true
      redis.call('EXPIRE', key, ARGV[1])
      if there.expired > 0 then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[1])
        -- An equal message that had expired was not added, but is no longer expired.
        there.waiting = redis.call('ZCARD', key)
      end
    end
  end
end
return refused
