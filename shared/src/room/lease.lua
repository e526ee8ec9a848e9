#!lua
--[[
lease: become, or stay, the one pump of a shard of a room.

KEYS[1]  room
ARGV[1]  now, ms
ARGV[2]  token of the caller
ARGV[3]  until when, ms
ARGV[4]  shard
ARGV[5]  "1" to stay: only if the lease is the caller's still

Returns 1 if the caller is the pump now, 0 if there is another, or none.
]]
local room, holder, till = KEYS[1], 'pump:' .. ARGV[4], 'pump_until:' .. ARGV[4]
assert(#KEYS == 1 and #ARGV == 5, 'lease: wrong arguments')

local got = redis.call('HMGET', room, holder, till)
-- A pump that asks again because the answer was lost is still the pump.
if got[1] ~= ARGV[2] and (ARGV[5] == '1' or tonumber(got[2] or 0) > tonumber(ARGV[1])) then return 0 end
redis.call('HSET', room, holder, ARGV[2], till, ARGV[3])
return 1
