#!lua
--[[
reopen: the ledger took the units of an order again that it had given back; the order is held once more.

What is left may fall below zero by it: the gate sells none then until it is above.

KEYS[1]  gate of the source
KEYS[2]  extended holds of the source
ARGV[1]  order id
ARGV[2]  revision of the ledger's order
ARGV[3]  deadline, ms

Returns
  "reopened"  the units are held again
  "already"   they are held, from now on until this deadline, or the gate follows this revision or a later one; no stock
              changed
  "absent"    the gate has no such hold. It gets a tombstone, so that a retry takes nothing
]]
local gate, field, revision, deadline = KEYS[1], 'hold:' .. ARGV[1], tonumber(ARGV[2]), ARGV[3]
assert(#KEYS == 2 and #ARGV == 3 and revision and revision > 0 and tonumber(deadline), 'reopen: wrong arguments')

local state, known, rest = string.match(redis.call('HGET', gate, field) or '', '^(%S+) (%d+) %d+( .*)$')
if not state then redis.call('HSET', gate, field, string.format('lost %d 0 0 - -', revision)) end
if not state or state == 'lost' then return 'absent' end
if tonumber(known) >= revision then return 'already' end

local viewer, lines = string.match(rest, '^ %d+ %S+ (%S+)( .*)$')
local write = {'HSET', gate, field, string.format('open %d %s', revision, deadline) .. rest}
for product, units in string.gmatch(lines, ' (%S+) (%d+) %d+') do
  local stock, taken, sold = 'stock:' .. product, 'taken:' .. product .. ':' .. viewer, 'sold:' .. product
  local got = redis.call('HMGET', gate, stock, taken, sold)
  local n = #write
  if state == 'released' then
    local left, version = string.match(got[1], '^(-?%d+) (%d+)$')
    write[n + 1], write[n + 2] = stock, string.format('%d %d', left - units, version + 1)
    write[n + 3], write[n + 4] = taken, string.format('%d', (got[2] or 0) + units)
  elseif state == 'confirmed' then
    write[n + 1], write[n + 2] = sold, string.format('%d', got[3] - units)
  end
end
redis.call(unpack(write))
redis.call('ZADD', KEYS[2], deadline, ARGV[1])
local due = redis.call('HGET', gate, 'due')
if not due or tonumber(due) > tonumber(deadline) then redis.call('HSET', gate, 'due', deadline) end
return (state == 'released' or state == 'confirmed') and 'reopened' or 'already'
