#!lua
--[[
air: the terms a product sells at, or that it is off air. Hosts act at the same time and are tried again late; the newest
change wins, in whatever order the calls arrive.

KEYS[1]  gate of the source
ARGV[1]  product
ARGV[2]  which change this is
ARGV[3]  terms: "<live price> <per-viewer limit, 0 is none> <from ms> <until ms>"

Returns 1 if these are the terms now, 0 if the gate follows a newer change.
]]
local gate, product, change = KEYS[1], ARGV[1], tonumber(ARGV[2])
assert(#KEYS == 1 and #ARGV == 3 and change, 'air: wrong arguments')

local got = redis.call('HMGET', gate, 'aired:' .. product, 'air:' .. product)
if got[1] and got[2] and tonumber(got[1]) > change then return 0 end
redis.call('HSET', gate, 'aired:' .. product, ARGV[2], 'air:' .. product, ARGV[3])
return 1
