#!lua
--[[
lease: become the one pump of a room.

KEYS[1]  room
ARGV[1]  now, ms
ARGV[2]  token of the caller
ARGV[3]  until when, ms

Returns 1 if the caller is the pump now, 0 if there is another.
]]
assert(#KEYS == 1 and #ARGV == 3, 'lease: wrong arguments')

local got = redis.call('HMGET', KEYS[1], 'pump', 'pump_until')
-- A pump that asks again because the answer was lost is still the pump.
if tonumber(got[2] or 0) > tonumber(ARGV[1]) and got[1] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'pump', ARGV[2], 'pump_until', ARGV[3])
return 1
