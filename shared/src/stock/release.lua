#!lua
--[[
release: give the units of one order back, exactly once.

KEYS[1]  gate of the source
ARGV[1]  order id

Returns {word, closed product, ...}
  "released"   the units are back. The products that are off air for good follow: their units belong to the pool now
  "already"    they were given back before; nothing changed
  "confirmed"  they are sold; nothing changed
  "absent"     the gate has no such hold. It gets a tombstone, so that a retry which comes late takes nothing
]]
local gate, field = KEYS[1], 'hold:' .. ARGV[1]
assert(#KEYS == 1 and #ARGV == 1, 'release: wrong arguments')

local state, rest = string.match(redis.call('HGET', gate, field) or '', '^(%S+)( .*)$')
if not state then
  redis.call('HSET', gate, field, 'released 0 0 - -')
  return {'absent'}
end
if state == 'released' then return {'already'} end
if state == 'confirmed' then return {'confirmed'} end

local viewer, lines = string.match(rest, '^ %d+ %d+ %S+ (%S+)( .*)$')
local write, answer = {'HSET', gate, field, 'released' .. rest}, {'released'}
for product, units in string.gmatch(lines, ' (%S+) (%d+) %d+') do
  local taken = 'taken:' .. product .. ':' .. viewer
  local got = redis.call('HMGET', gate, 'stock:' .. product, taken, 'air:' .. product)
  if got[1] then
    local left, version = string.match(got[1], '^(-?%d+) (%d+)$')
    write[#write + 1], write[#write + 2] = 'stock:' .. product, string.format('%d %d', left + units, version + 1)
  end
  write[#write + 1], write[#write + 2] = taken, string.format('%d', math.max(0, (got[2] or 0) - units))
  if not got[3] or string.match(got[3], ' 0$') then answer[#answer + 1] = product end
end
redis.call(unpack(write))
return answer
