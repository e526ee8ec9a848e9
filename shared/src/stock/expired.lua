#!lua
--[[
expired: the orders whose units may be given back, because they are open and their deadline has passed.

It changes no stock and no hold: whether an order failed is for the ledger to say. What it forgets is entries that say nothing
any more: of holds that are settled, gone, or have another deadline by now, which an entry of its own says. An order that is
due and stays open stays listed.

KEYS[1]  gate of the source
KEYS[2]  deadlines of the source
KEYS[3]  extended holds of the source
ARGV[1]  now, ms
ARGV[2]  orders at most
ARGV[3]  entries that are looked at, at most, of each of the two
ARGV[4]  until when nobody else who claims is answered, ms; "" not to claim

Returns order ids; none if another caller has claimed.
]]
local gate, deadlines, extended = KEYS[1], KEYS[2], KEYS[3]
local now, limit, scan = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
assert(#KEYS == 3 and #ARGV == 4 and now and limit and scan and scan > 0, 'expired: wrong arguments')
if ARGV[4] ~= '' then
  if tonumber(redis.call('HGET', gate, 'sweeping') or 0) > now then return {} end
  redis.call('HSET', gate, 'sweeping', ARGV[4])
end

local orders, listed = {}, {}
-- Whether the entry is its open hold's; a due one is listed.
local function counts(order, deadline)
  local state, current = string.match(redis.call('HGET', gate, 'hold:' .. order) or '', '^(%S+) %d+ (%d+)')
  if (state ~= 'open' and state ~= 'kept') or tonumber(current) ~= deadline or listed[order] then return false end
  orders[#orders + 1] = order
  listed[order] = true
  return true
end

-- Whoever is open goes back to the head, so that one who stays open does not hide those behind.
local entries, seen, open = redis.call('LRANGE', deadlines, 0, scan - 1), 0, {}
for i = 1, #entries do
  local deadline, order = string.match(entries[i], '^(%d+) (.+)$')
  deadline = tonumber(deadline)
  if deadline > now or #orders == limit then break end
  seen = i
  if counts(order, deadline) then open[#open + 1] = entries[i] end
end
if #open < seen then
  redis.call('LTRIM', deadlines, seen, -1)
  for i = #open, 1, -1 do redis.call('LPUSH', deadlines, open[i]) end
end

local due = redis.call('ZRANGEBYSCORE', extended, '-inf', now, 'WITHSCORES', 'LIMIT', 0, scan)
for i = 1, #due, 2 do
  if #orders == limit then break end
  if not counts(due[i], tonumber(due[i + 1])) then redis.call('ZREM', extended, due[i]) end
end

local listed_first = string.match(redis.call('LINDEX', deadlines, 0) or '', '^%d+')
local extended_first = redis.call('ZRANGE', extended, 0, 0, 'WITHSCORES')[2]
if listed_first or extended_first then
  local first = math.min(tonumber(listed_first or extended_first), tonumber(extended_first or listed_first))
  redis.call('HSET', gate, 'due', string.format('%.0f', first))
else
  redis.call('HDEL', gate, 'due')
end
return orders
