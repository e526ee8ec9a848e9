#!lua
--[[
extend: the hold of an order goes on until later; never until earlier.

KEYS[1]  gate of the source
KEYS[2]  extended holds of the source
ARGV[1]  order id
ARGV[2]  until when, ms

Returns the deadline in ms, or
  "settled"  the order is not open any more; nothing changed
  "absent"   the gate has no such hold; nothing changed
]]
local gate, field, till = KEYS[1], 'hold:' .. ARGV[1], tonumber(ARGV[2])
assert(#KEYS == 2 and #ARGV == 2 and till, 'extend: wrong arguments')

local state, revision, deadline, rest = string.match(redis.call('HGET', gate, field) or '', '^(%S+) (%d+) (%d+)( .*)$')
if not state or state == 'lost' then return 'absent' end
if state ~= 'open' and state ~= 'kept' then return 'settled' end
if till <= tonumber(deadline) then return deadline end
redis.call('HSET', gate, field, state .. ' ' .. revision .. ' ' .. ARGV[2] .. rest)
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
local due = redis.call('HGET', gate, 'due')
if not due or tonumber(due) > till then redis.call('HSET', gate, 'due', ARGV[2]) end
return ARGV[2]
