#!lua
--[[
confirm: these orders are sold. Their units leave the holds for good; the ledger counts them.

KEYS[1]  gate of the source
ARGV     order ids

Returns one word an order, in their order
  "confirmed"  it was open until now
  "already"    it was confirmed before; nothing changed
  "released"   its units were given back before; nothing changed: the caller must not count them as sold
  "absent"     the gate has no such hold (it forgot, or never took one); nothing changed
]]
local gate = KEYS[1]
assert(#KEYS == 1 and #ARGV >= 1, 'confirm: wrong arguments')

local fields = {}
for i = 1, #ARGV do fields[i] = 'hold:' .. ARGV[i] end
local holds = redis.call('HMGET', gate, unpack(fields))

local words, write, sold, products = {}, {'HSET', gate}, {}, {}
for i = 1, #ARGV do
  local state, rest = string.match(holds[i] or '', '^(%S+)( .*)$')
  if state == 'open' then
    for product, units in string.gmatch(string.match(rest, '^ %d+ %d+ %S+ %S+( .*)$'), ' (%S+) (%d+) %d+') do
      if not sold[product] then products[#products + 1] = product end
      sold[product] = (sold[product] or 0) + units
    end
    write[#write + 1], write[#write + 2] = fields[i], 'confirmed' .. rest
    words[i] = 'confirmed'
    holds[i] = nil
  elseif state == 'confirmed' then words[i] = 'already'
  elseif state == 'released' then words[i] = 'released'
  else words[i] = 'absent' end
end
if #products == 0 then return words end

for i = 1, #products do
  local field = 'sold:' .. products[i]
  local before = redis.call('HGET', gate, field)
  write[#write + 1], write[#write + 2] = field, string.format('%d', (before or 0) + sold[products[i]])
end
redis.call(unpack(write))
return words
