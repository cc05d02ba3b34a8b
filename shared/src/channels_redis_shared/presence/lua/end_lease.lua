-- Purpose: removes the lease of a dead process. One that was renewed or taken over again is changed,
--          so that its process, if it is alive, writes its people again: some may be removed.
-- KEYS:    [1] the leases, [2] the groups in which the process had people, as for renew.lua.
-- ARGV:    [1] the process, [2] its lease as the caller took it over.
-- Result:  1 if it was removed, else 0.
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if lease and tonumber(lease) == tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('UNLINK', KEYS[2])
  return 1
end
redis.call('ZADD', KEYS[1], 'XX', 'INCR', 1, ARGV[1])
return 0
