#!lua
--[[
register: from now on the pump sends this connection what comes after its cursor.

KEYS[1]  room
KEYS[2]  viewers
ARGV[1]  now, ms
ARGV[2]  least time between two wakes, ms
ARGV[3]  connection id
ARGV[4]  cursor: the last sequence number the viewer has
ARGV[5]  user

Returns 1 if no pump is running and it is time to wake one, else 0. A wake is due in any case, because the number of viewers
has changed, and because events may have come between the viewer's snapshot and this call. A wake of this very millisecond is due
again: it may be this call's own, whose answer was lost, and a wake too many does no harm.
]]
assert(#KEYS == 2 and #ARGV == 5, 'register: wrong arguments')

local version = redis.call('HINCRBY', KEYS[1], 'viewers_version', 1)
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4] .. ' ' .. version .. ' ' .. ARGV[5])
local got = redis.call('HMGET', KEYS[1], 'pump_until', 'woken_at')
local now = tonumber(ARGV[1])
if tonumber(got[1] or 0) <= now and (tonumber(got[2] or 0) + ARGV[2] <= now or got[2] == ARGV[1]) then
  redis.call('HSET', KEYS[1], 'woken_at', ARGV[1])
  return 1
end
return 0
