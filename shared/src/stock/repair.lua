#!lua
--[[
repair: a compensating entry for what the gate counts otherwise than the ledger.

KEYS[1]  gate of the source
ARGV[1]  product
ARGV[2]  units that become free; fewer than none take units away
ARGV[3]  units that count as sold from now on; fewer than none no longer do
ARGV[4]  version of the stock that the caller has compared

Returns
  "repaired"
  "moved"     the stock has changed since, or the gate does not know the product; nothing changed
]]
local gate, product, left_by, sold_by = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
assert(#KEYS == 1 and #ARGV == 4 and left_by and sold_by, 'repair: wrong arguments')

local stock_field, sold_field = 'stock:' .. product, 'sold:' .. product
local got = redis.call('HMGET', gate, stock_field, sold_field)
local left, version = string.match(got[1] or '', '^(-?%d+) (%d+)$')
if version ~= ARGV[4] then return 'moved' end
redis.call('HSET', gate,
  stock_field, string.format('%d %d', left + left_by, version + 1),
  sold_field, string.format('%d', math.max(0, (got[2] or 0) + sold_by)))
return 'repaired'
