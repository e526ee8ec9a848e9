#!lua
--[[
grant: tell the gate what the ledger granted to this source.

The ledger moves units between sources; the gate follows. It takes over the difference to what it knew, so units that are
held or sold meanwhile stay so, and a repeated or late call changes nothing. A gate that knows nothing (new, or Redis lost
its memory) is filled with what the ledger has not sold.

KEYS[1]  gate of the source
ARGV[1]  now, ms
then for every product: product, units granted, units unsold, grant version

Returns one word a product, in their order
  "loaded"   the gate knew nothing
  "granted"  the gate followed, or got back what was withdrawn in vain
  "current"  the gate knew, or units are withdrawn for a move that may be under way
]]
local gate, now, grace = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
assert(#KEYS == 1 and now and grace and #ARGV >= 6 and #ARGV % 4 == 2, 'grant: wrong arguments')

local words, write = {}, {'HSET', gate}
for i = 3, #ARGV, 4 do
  local product, granted, unsold, grant_version = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  assert(granted and unsold and grant_version, 'grant: numbers expected')
  local stock_field, granted_field = 'stock:' .. product, 'granted:' .. product
  local known = redis.call('HMGET', gate, stock_field, granted_field)
  local n = #write
  if not known[1] or not known[2] then
    -- The version starts at the time in microseconds: a gate that forgot must not count again from below what screens have seen.
    write[n + 1], write[n + 2] = stock_field, string.format('%d %d', unsold, now * 1000)
    write[n + 3], write[n + 4] = granted_field, string.format('%d %d', granted, grant_version)
    write[n + 5], write[n + 6] = 'sold:' .. product, string.format('%d', granted - unsold)
    words[#words + 1] = 'loaded'
  else
    local known_granted, known_version = string.match(known[2], '^(%d+) (%d+)')
    local withdrawn_at = string.match(known[2], '^%d+ %d+ %S+ %d+ (%d+)$')
    local ahead = grant_version - known_version
    local in_vain = ahead == 0 and granted ~= tonumber(known_granted) and (withdrawn_at or 0) + grace <= now
    if ahead > 0 or in_vain then
      local left, version = string.match(known[1], '^(-?%d+) (%d+)$')
      write[n + 1], write[n + 2] = stock_field, string.format('%d %d', left + granted - known_granted, version + 1)
      write[n + 3], write[n + 4] = granted_field, string.format('%d %d', granted, grant_version)
      words[#words + 1] = 'granted'
    else
      words[#words + 1] = 'current'
    end
  end
end
if #write > 2 then redis.call(unpack(write)) end
return words
