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
local gate, order, now, fingerprint, viewer = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[5]
local match, format = string.match, string.format
local last = #ARGV
assert(#KEYS == 2 and now and last >= 7 and last % 2 == 1, 'reserve: wrong arguments')

-- Both tables are made in the size of an order of one line, by far the most common: growing them costs as much as a lookup.
local fields, n = {'hold:' .. order, '', '', ''}, 1
for i = 6, last, 2 do
  local product = ARGV[i]
  fields[n + 1] = 'stock:' .. product
  fields[n + 2] = 'air:' .. product
  fields[n + 3] = 'taken:' .. product .. ':' .. viewer
  n = n + 3
end
local got = redis.call('HMGET', gate, unpack(fields))

local earlier = got[1]
if earlier then
  local state, rest, known = match(earlier, '^(%S+)( %d+ %d+ %d+ (%S+).*)$')
  if known ~= fingerprint and known ~= '-' then return 'conflict' end
  if state == 'open' then redis.call('HSET', gate, fields[1], 'kept' .. rest) end
  return 'replayed ' .. earlier
end

local answer, write, hold, w = 'reserved'
local f = 2
for i = 6, last, 2 do
  local product, units = ARGV[i], tonumber(ARGV[i + 1])
  assert(units and units > 0, 'reserve: units must be positive')
  local stock, terms = got[f], got[f + 1]
  if not stock or not terms then return 'unknown ' .. product end
  local price, limit, from, till = match(terms, '^(%d+) (%d+) (%d+) (%d+)$')
  if now < tonumber(from) or now >= tonumber(till) then return 'not_on_air ' .. product end
  local left, version = match(stock, '^(-?%d+) (%d+)$')
  if tonumber(left) < units then
    local due = redis.call('HGET', gate, 'due')
    return 'sold_out ' .. product .. ' ' .. left .. (due and tonumber(due) <= now and ' 1' or ' 0')
  end
  local taken = (got[f + 2] or 0) + units
  if limit ~= '0' and taken > tonumber(limit) then
    return format('limit_exceeded %s %d', product, math.max(0, limit - taken + units))
  end
  if not write then -- not before the first line fits: sold out is the answer most calls of a show get
    write, w = {'HSET', gate, fields[1], '', '', '', '', ''}, 4
    hold = 'open 0 ' .. ARGV[3] .. ' ' .. ARGV[2] .. ' ' .. fingerprint .. ' ' .. viewer
  end
  write[w + 1] = fields[f]
  write[w + 2] = format('%d %d', left - units, version + 1)
  write[w + 3] = fields[f + 2]
  write[w + 4] = format('%d', taken)
  hold = hold .. ' ' .. product .. ' ' .. ARGV[i + 1] .. ' ' .. price
  answer = answer .. ' ' .. price
  w, f = w + 4, f + 3
end
write[4] = hold

redis.call(unpack(write))
if redis.call('RPUSH', KEYS[2], ARGV[3] .. ' ' .. order) == 1 then -- behind another one it is not the first to be due
  local due = redis.call('HGET', gate, 'due')
  if not due or tonumber(due) > tonumber(ARGV[3]) then redis.call('HSET', gate, 'due', ARGV[3]) end
end
return answer
