#!lua
--[[
mirror: make the counters of a source that has no holds those of the ledger's row.

The pool and the shares of channels sell in the ledger first, so the gate only shows what is there. Rows come late and twice:
one whose revision is not newer than the last changes nothing. Units that are withdrawn for a move stay withdrawn until the
move is known (a newer grant version) or was given up.

KEYS[1]  gate of the source
KEYS[2]  products that moved: their listings are to be looked at
KEYS[3]  there while somebody was woken for these a moment ago
ARGV[1]  now, ms
ARGV[2]  how long withdrawn units are left alone, ms
ARGV[3]  product
ARGV[4]  units granted
ARGV[5]  units unsold; below zero if more was sold than was there
ARGV[6]  grant version
ARGV[7]  revision
ARGV[8]  how long a wake is good for, ms

Returns a word, and whether somebody is to be woken for the channels (1 or 0)
  "loaded"   the gate knew nothing
  "granted"  the gate followed
  "current"  the gate knew this row, or a later one
]]
local gate, now, grace, product = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local granted, unsold, grant_version, revision = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
assert(#KEYS == 3 and #ARGV == 8 and now and grace and granted and unsold and grant_version and revision, 'mirror: wrong arguments')

local function moved()
  redis.call('SADD', KEYS[2], product)
  return redis.call('SET', KEYS[3], 1, 'NX', 'PX', ARGV[8]) and 1 or 0
end


local stock_field, granted_field, followed_field = 'stock:' .. product, 'granted:' .. product, 'followed:' .. product
local known = redis.call('HMGET', gate, stock_field, granted_field, followed_field)
local sold = string.format('%d', granted - unsold)
if not known[1] or not known[2] then
  -- The version starts at the time in microseconds: a gate that forgot must not count again from below what screens have seen.
  redis.call('HSET', gate, stock_field, string.format('%d %d', unsold, now * 1000),
    granted_field, string.format('%d %d', granted, grant_version), 'sold:' .. product, sold, followed_field, ARGV[7])
  return {'loaded', moved()}
end

local left, version = string.match(known[1], '^(-?%d+) (%d+)$')
local known_version, rest = string.match(known[2], '^%d+ (%d+)(.*)$')
local token, withdrawn, at = string.match(rest, '^ (%S+) (%d+) (%d+)$')
local newer = revision > tonumber(known[3] or -1)
local same_grant = grant_version == tonumber(known_version)
local under_way = token and same_grant and at + grace > now
local in_vain = token and same_grant and not under_way and revision >= tonumber(known[3] or -1)
if grant_version < tonumber(known_version) or not (newer or in_vain) then return {'current', 0} end

local out = under_way and tonumber(withdrawn) or 0
local record = string.format('%d %d', granted - out, grant_version)
if under_way then record = record .. rest end
if tonumber(left) ~= unsold - out then version = version + 1 end
redis.call('HSET', gate, stock_field, string.format('%d %d', unsold - out, version), granted_field, record,
  'sold:' .. product, sold, followed_field, ARGV[7])
return {'granted', moved()}
