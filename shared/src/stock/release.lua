#!lua
--[[
release: the order failed or was cancelled, says the ledger; its units go back, exactly once.

KEYS[1]  gate of the source
ARGV[1]  order id
ARGV[2]  revision of the ledger's order
ARGV[3]  "back", or "forfeited" for an order that the ledger had no units for: they pay what the gate owes, and the rest is
         not sold again

Returns {word, closed product, ...}: with "released" and "already" follow the products of the order that are off air for
good, because their units belong to the pool now. A caller that broke off in between hears of them again.
  "released"   the units are back, or forfeited; they were held, or sold
  "already"    they were given back before; no stock changed
  "overtaken"  the gate follows this revision or a later one, by which the units are held or sold; nothing changed
  "absent"     the gate has no such hold. It gets a tombstone, so that a retry which comes late takes nothing
]]
local gate, field, revision = KEYS[1], 'hold:' .. ARGV[1], tonumber(ARGV[2])
assert(#KEYS == 1 and #ARGV == 3 and revision and revision > 0, 'release: wrong arguments')

local state, known, rest = string.match(redis.call('HGET', gate, field) or '', '^(%S+) (%d+)( .*)$')
if not state then redis.call('HSET', gate, field, string.format('lost %d 0 0 - -', revision)) end
if not state or state == 'lost' then return {'absent'} end
local newer = tonumber(known) < revision
if not newer and state ~= 'released' then return {'overtaken'} end

local viewer, lines = string.match(rest, '^ %d+ %d+ %S+ (%S+)( .*)$')
local write = {'HSET', gate, field, string.format('released %d', revision) .. rest}
local answer = {state == 'released' and 'already' or 'released'}
local back = ARGV[3] == 'back'
for product, units in string.gmatch(lines, ' (%S+) (%d+) %d+') do
  local taken = 'taken:' .. product .. ':' .. viewer
  local got = redis.call('HMGET', gate, 'stock:' .. product, taken, 'sold:' .. product, 'air:' .. product)
  if state ~= 'released' then
    local n = #write
    write[n + 1], write[n + 2] = taken, string.format('%d', math.max(0, (got[2] or 0) - units))
    local left, version = string.match(got[1], '^(-?%d+) (%d+)$')
    local free = left + units
    if not back then free = math.max(tonumber(left), math.min(free, 0)) end
    write[n + 3], write[n + 4] = 'stock:' .. product, string.format('%d %d', free, version + 1)
    if state == 'confirmed' then
      n = #write
      write[n + 1], write[n + 2] = 'sold:' .. product, string.format('%d', got[3] - units)
    end
  end
  if back and (not got[4] or string.match(got[4], ' 0$')) then answer[#answer + 1] = product end
end
if newer then redis.call(unpack(write)) end
return answer
