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

if tonumber(redis.call('HGET', KEYS[1], 'pump_until') or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'pump', ARGV[2], 'pump_until', ARGV[3])
return 1
