#!lua
--[[
reserve: take units for one order, every line or none.

KEYS[1]  gate of the source
KEYS[2]  deadlines of the source

ARGV[1]  order id
ARGV[2]  now, ms
ARGV[3]  deadline of the hold, ms
ARGV[4]  fingerprint of the request
ARGV[5]  viewer
ARGV[6], ARGV[7], ...  product, units; each product once

Returns one text (a table of words costs a tenth of the call)
  reserved <price> ...            the units are taken, at this price a unit, line by line
  replayed <hold>                 this order was taken before, with the same fingerprint; if it is open, `undo` keeps it from
                                  now on. A tombstone without lines is of an order that only the ledger knows
  conflict                        this order was taken before, with another fingerprint
  unknown <product>               the gate has never heard of the product, or has forgotten it: load it and ask again
  not_on_air <product>            outside its window, paused or closed
  limit_exceeded <product> <units the viewer may still take>
  sold_out <product> <units left> <1 if the deadline of a hold of this source has passed, so that asking `expired` may pay>

The hold that is kept ends with "<product> <units> <price>" a line. Everything is decided before the one write, because
Redis does not roll back.
]]
local argv, call, match, format = ARGV, redis.call, string.match, string.format -- a global costs a lookup each time
-- Arithmetic makes a number of digits at half the cost of tonumber, and fails on anything else.
local gate, order, now, fingerprint, viewer = KEYS[1], argv[1], argv[2] + 0, argv[4], argv[5]
local last = #argv
if not KEYS[2] or last < 7 or last % 2 == 0 then error('reserve: wrong arguments') end

-- Most orders have one line. Their fields stand in the call: a table of them, and its unpacking, would cost as much as a lookup.
local first, hold_field = argv[6], 'hold:' .. order
local stock_field, taken_field = 'stock:' .. first, 'taken:' .. first .. ':' .. viewer
local got, fields
if last == 7 then
  got = call('HMGET', gate, hold_field, 'due', stock_field, 'air:' .. first, taken_field)
else
  fields = {hold_field, 'due'}
  for i = 6, last, 2 do
    local product, n = argv[i], #fields
    fields[n + 1], fields[n + 2], fields[n + 3] = 'stock:' .. product, 'air:' .. product, 'taken:' .. product .. ':' .. viewer
  end
  got = call('HMGET', gate, unpack(fields))
end

local earlier, due = got[1], got[2]
if earlier then
  local state, rest, known = match(earlier, '^(%S+)( %d+ %d+ %d+ (%S+).*)$')
  if known ~= fingerprint and known ~= '-' then return 'conflict' end
  if state == 'open' then call('HSET', gate, hold_field, 'kept' .. rest) end
  return 'replayed ' .. earlier
end

local answer, write, hold, stock_left, taken_now = 'reserved'
local f = 3
for i = 6, last, 2 do
  local product, units = argv[i], argv[i + 1] + 0
  if units <= 0 then error('reserve: units must be positive') end
  local stock, terms = got[f], got[f + 1]
  if not stock or not terms then return 'unknown ' .. product end
  local price, limit, from, till = match(terms, '^(%d+) (%d+) (%d+) (%d+)$')
  if now - from < 0 or now - till >= 0 then return 'not_on_air ' .. product end
  local left, version = match(stock, '^(-?%d+) (%d+)$')
  if left - units < 0 then
    return 'sold_out ' .. product .. ' ' .. left .. (due and now - due >= 0 and ' 1' or ' 0')
  end
  local taken = (got[f + 2] or 0) + units
  if limit ~= '0' and taken > tonumber(limit) then
    return format('limit_exceeded %s %d', product, math.max(0, limit - taken + units))
  end
  if not hold then -- not before the first line fits: sold out is the answer most calls of a show get
    hold = 'open 0 ' .. argv[3] .. ' ' .. argv[2] .. ' ' .. fingerprint .. ' ' .. viewer
    write = fields and {'HSET', gate}
  end
  stock_left, taken_now = format('%d %d', left - units, version + 1), format('%d', taken)
  if fields then
    local w = #write
    write[w + 1], write[w + 2], write[w + 3], write[w + 4] = fields[f], stock_left, fields[f + 2], taken_now
  end
  hold = hold .. ' ' .. product .. ' ' .. argv[i + 1] .. ' ' .. price
  answer = answer .. ' ' .. price
  f = f + 3
end

if fields then
  write[#write + 1], write[#write + 2] = hold_field, hold
  call(unpack(write))
else
  call('HSET', gate, hold_field, hold, stock_field, stock_left, taken_field, taken_now)
end
-- Behind another one it is not the first to be due.
if call('RPUSH', KEYS[2], argv[3] .. ' ' .. order) == 1 and (not due or tonumber(due) > tonumber(argv[3])) then
  call('HSET', gate, 'due', argv[3])
end
return answer
