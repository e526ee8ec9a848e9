#!lua
--[[
leave: these connections are gone.

KEYS[1]  room
KEYS[2]  viewers
ARGV     connection ids

Returns how many of them were registered. The viewer count follows with the room's next frame; leaving wakes no pump,
because nobody waits for it.
]]
assert(#KEYS == 2 and #ARGV >= 1, 'leave: wrong arguments')

local gone = redis.call('HDEL', KEYS[2], unpack(ARGV))
if gone > 0 then redis.call('HINCRBY', KEYS[1], 'viewers_version', 1) end
return gone
