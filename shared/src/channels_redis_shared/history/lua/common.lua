-- Purpose: begins append.lua and read.lua, and defines for them `find_position`.
-- KEYS:    as for append.lua.
local nonce = string.rep('[0-9a-f]', 8)
-- Returns whether digits are a part of an id: 64 bits, as text, since Lua rounds such a number.
local function is_part(digits)
  return #digits < 20 or #digits == 20 and digits <= '18446744073709551615'
end
-- Returns the position of the latest entry, or nil, and whether its key holds it. What no layer has
-- written counts as missing.
local function find_position()
  local position = redis.call('GET', KEYS[2])
  if position then
    local first, second = string.match(position, '^(%d+)%-(%d+)%.' .. nonce .. '$')
    if first and is_part(first) and is_part(second) then
      return position, true
    end
  end
  -- Either there was no message, or the server has evicted this key alone.
  local latest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if latest then
    local fields = latest[2]
    local is_message = #fields == 6 and fields[1] == 'n' and fields[3] == 'p' and fields[5] == 'm'
    if is_message and string.find(fields[2], '^' .. nonce .. '$') then
      return latest[1] .. '.' .. fields[2], false
    end
  end
  return nil, false
end
