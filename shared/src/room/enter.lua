#!lua
--[[
enter: what a viewer must know of the room at one moment: its state, the latest chat, the stock of what is on air.

KEYS[1]  room
KEYS[2]  log
KEYS[3]  gate of the broadcast
ARGV[1]  how many of the latest events to look at for chat

Returns {room fields and values, latest events, stock records}
  room fields and values  flat, as HGETALL
  latest events           flat: to, event; newest first
  stock records           flat: product, "<left> <version>", for every field "product:<id>" of the room
]]
assert(#KEYS == 3 and #ARGV == 1, 'enter: wrong arguments')

local room = redis.call('HGETALL', KEYS[1])
local latest = {}
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[1])) do
  latest[#latest + 1], latest[#latest + 2] = entry[2][2], entry[2][4]
end
local stock = {}
for i = 1, #room, 2 do
  local product = string.match(room[i], '^product:(.+)$')
  if product then
    stock[#stock + 1], stock[#stock + 2] = product, redis.call('HGET', KEYS[3], 'stock:' .. product) or ''
  end
end
return {room, latest, stock}
