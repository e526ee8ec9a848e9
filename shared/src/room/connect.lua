#!lua
--[[
connect: a connection of a person is let in, unless the person is banned. In one step with writing the connection down: who bans a
person afterwards finds it there and closes it.

KEYS[1]  room
KEYS[2]  moderation
KEYS[3]  connections of the person in this room, by the time they came
KEYS[4]  connection
ARGV[1]  now, ms
ARGV[2]  ms after which a connection has ended by itself
ARGV[3]  user
ARGV[4]  connection id
ARGV[5]  who is behind it, JSON

Returns "unknown" if Redis does not know the room, or what its host has decided; "banned"; or "welcome".
]]
local now, age = tonumber(ARGV[1]), tonumber(ARGV[2])
assert(#KEYS == 4 and #ARGV == 5 and now and age, 'connect: wrong arguments')

local got = redis.call('HMGET', KEYS[2], 'version', 'ban:' .. ARGV[3])
if not got[1] or redis.call('HEXISTS', KEYS[1], 'broadcast') == 0 then return 'unknown' end
if got[2] then return 'banned' end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - age)
redis.call('ZADD', KEYS[3], now, ARGV[4])
redis.call('PEXPIRE', KEYS[3], age)
redis.call('HSET', KEYS[4], 'who', ARGV[5])
redis.call('PEXPIRE', KEYS[4], age)
return 'welcome'
