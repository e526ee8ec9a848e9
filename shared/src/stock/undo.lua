#!lua
--[[
undo: an order that never got further than its hold was never there; its units go back.

The same order may be asked for again and takes its units anew. Its deadline entry stays: `expired` skips it.

KEYS[1]  gate of the source
ARGV[1]  order id

Returns
  "undone"
  "kept"    another try of the order has seen this hold, or the ledger knows the order, or it is settled; nothing changed
  "absent"  the gate has no such hold; nothing changed
]]
local gate, field = KEYS[1], 'hold:' .. ARGV[1]
assert(#KEYS == 1 and #ARGV == 1, 'undo: wrong arguments')

local state, revision, viewer, lines = string.match(redis.call('HGET', gate, field) or '', '^(%S+) (%d+) %d+ %d+ %S+ (%S+)(.*)$')
if not state or state == 'lost' then return 'absent' end
if state ~= 'open' or revision ~= '0' then return 'kept' end

local write = {'HSET', gate}
for product, units in string.gmatch(lines, ' (%S+) (%d+) %d+') do
  local stock, taken = 'stock:' .. product, 'taken:' .. product .. ':' .. viewer
  local got = redis.call('HMGET', gate, stock, taken)
  local left, version = string.match(got[1], '^(-?%d+) (%d+)$')
  local n = #write
  write[n + 1], write[n + 2] = stock, string.format('%d %d', left + units, version + 1)
  write[n + 3], write[n + 4] = taken, string.format('%d', math.max(0, (got[2] or 0) - units))
end
redis.call(unpack(write))
redis.call('HDEL', gate, field)
return 'undone'
