#!lua
--[[
watermark: raise the time up to which accepted orders are known to have been looked at; it never falls.

KEYS[1]  watermark
ARGV[1]  up to when, ms

Returns the watermark, ms.
]]
local till = tonumber(ARGV[1])
assert(#KEYS == 1 and #ARGV == 1 and till, 'watermark: wrong arguments')

local known = redis.call('GET', KEYS[1])
if known and tonumber(known) >= till then return known end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
