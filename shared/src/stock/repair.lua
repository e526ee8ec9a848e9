#!lua
--[[
repair: a compensating entry for what the gate counts otherwise than the ledger.

KEYS[1]  gate of the source
ARGV[1]  product
ARGV[2]  units that become free; fewer than none take units away
ARGV[3]  version of the stock that the caller has compared

Returns
  "repaired"
  "moved"     the stock has changed since, or the gate does not know the product; nothing changed
]]
local gate, field, delta = KEYS[1], 'stock:' .. ARGV[1], tonumber(ARGV[2])
assert(#KEYS == 1 and #ARGV == 3 and delta, 'repair: wrong arguments')

local left, version = string.match(redis.call('HGET', gate, field) or '', '^(-?%d+) (%d+)$')
if version ~= ARGV[3] then return 'moved' end
redis.call('HSET', gate, field, string.format('%d %d', left + delta, version + 1))
return 'repaired'
