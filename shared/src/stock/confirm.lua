#!lua
--[[
confirm: these orders are sold, says the ledger.

An open hold ends: its units leave it for good. The units of a hold that was given back are taken once more, because the
ledger has taken them once more; what is left may fall below zero then, and the gate sells none until it is above.

KEYS[1]  gate of the source
ARGV     for every order: its id, the revision of the ledger's order

Returns one word an order, in their order
  "confirmed"  it was open until now
  "retaken"    its units had been given back; they are taken and sold
  "already"    it was sold before, or the gate follows this revision or a later one; no stock changed
  "absent"     the gate has no such hold (it forgot, or never took one). It gets a tombstone, so that a retry takes nothing
]]
local gate = KEYS[1]
assert(#KEYS == 1 and #ARGV >= 2 and #ARGV % 2 == 0, 'confirm: wrong arguments')

-- Every field is read once and written once, whatever orders share it.
local values, write = {}, {}
local function read(field)
  if values[field] == nil then values[field] = redis.call('HGET', gate, field) end
  return values[field]
end
local function set(field, value)
  values[field], write[field] = value, true
end

local words = {}
for i = 1, #ARGV, 2 do
  local field, revision, word = 'hold:' .. ARGV[i], tonumber(ARGV[i + 1]), 'already'
  assert(revision and revision > 0, 'confirm: revisions must be positive')
  local state, known, rest = string.match(read(field) or '', '^(%S+) (%d+)( .*)$')
  if not state or state == 'lost' then
    word = 'absent'
    if not state then set(field, string.format('lost %d 0 0 - -', revision)) end
  elseif tonumber(known) < revision then
    local viewer, lines = string.match(rest, '^ %d+ %d+ %S+ (%S+)( .*)$')
    if state == 'released' then word = 'retaken' elseif state ~= 'confirmed' then word = 'confirmed' end
    if word ~= 'already' then
      for product, units in string.gmatch(lines, ' (%S+) (%d+) %d+') do
        local sold = 'sold:' .. product
        set(sold, string.format('%d', (read(sold) or 0) + units))
        if word == 'retaken' then
          local stock, taken = 'stock:' .. product, 'taken:' .. product .. ':' .. viewer
          local left, version = string.match(read(stock), '^(-?%d+) (%d+)$')
          set(stock, string.format('%d %d', left - units, version + 1))
          set(taken, string.format('%d', (read(taken) or 0) + units))
        end
      end
    end
    set(field, string.format('confirmed %d', revision) .. rest)
  end
  words[#words + 1] = word
end

for field in pairs(write) do redis.call('HSET', gate, field, values[field]) end
return words
