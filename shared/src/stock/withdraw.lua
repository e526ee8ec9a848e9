#!lua
--[[
withdraw: take free units out of a source, ahead of the ledger that is about to move them elsewhere.

From here on the gate promises less than the ledger granted, never more. If the move is refused, `restore` brings the units
back; if its caller dies, a later `grant` does.

KEYS[1]  gate of the source
ARGV[1]  product
ARGV[2]  units at most; all that is free if that is less
ARGV[3]  units at least; fewer are not worth it
ARGV[4]  grant version the caller has read
ARGV[5]  token of this withdrawal: asked again with it, the answer is the same and nothing more is taken, unless another
         withdrawal came in between
ARGV[6]  now, ms

Returns
  {"withdrawn", units}
  {"short", units left}   fewer are free than asked for at least; nothing changed
  {"stale"}               the gate follows another grant than the caller has read; nothing changed
  {"unknown"}             the gate does not know the product
]]
local gate, product, most, least = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
assert(#KEYS == 1 and #ARGV == 6 and most and least, 'withdraw: wrong arguments')

local stock_field, granted_field = 'stock:' .. product, 'granted:' .. product
local got = redis.call('HMGET', gate, stock_field, granted_field)
if not got[1] or not got[2] then return {'unknown'} end
local left, version = string.match(got[1], '^(-?%d+) (%d+)$')
local granted, grant_version, rest = string.match(got[2], '^(%d+) (%d+)(.*)$')
if grant_version ~= ARGV[4] then return {'stale'} end
local token, before = string.match(rest, '^ (%S+) (%d+) %d+$')
if token == ARGV[5] then return {'withdrawn', before} end
left = tonumber(left)
local units = math.max(0, math.min(left, most))
if units < least then return {'short', left} end
redis.call('HSET', gate,
  stock_field, string.format('%d %d', left - units, version + 1),
  granted_field, string.format('%d %s %s %d %s', granted - units, grant_version, ARGV[5], units, ARGV[6]))
return {'withdrawn', units}
