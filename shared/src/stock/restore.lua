#!lua
--[[
restore: units that were withdrawn for a move which the ledger refused come back at once.

KEYS[1]  gate of the source
ARGV[1]  product
ARGV[2]  token of the withdrawal

Returns
  "restored"
  "gone"      another withdrawal or grant came after it; nothing changed. A grant has brought the units back, or will
]]
local gate, stock_field, granted_field = KEYS[1], 'stock:' .. ARGV[1], 'granted:' .. ARGV[1]
assert(#KEYS == 1 and #ARGV == 2, 'restore: wrong arguments')

local got = redis.call('HMGET', gate, stock_field, granted_field)
local granted, grant_version, token, units = string.match(got[2] or '', '^(%d+) (%d+) (%S+) (%d+) %d+$')
if not got[1] or token ~= ARGV[2] then return 'gone' end
local left, version = string.match(got[1], '^(-?%d+) (%d+)$')
redis.call('HSET', gate,
  stock_field, string.format('%d %d', left + units, version + 1),
  granted_field, string.format('%d %s', granted + units, grant_version))
return 'restored'
