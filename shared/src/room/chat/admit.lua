#!lua
--[[
admit: a connection of a person comes into the room, unless the person is banned. In one step with writing the connection
down: who bans a person afterwards finds it there and closes it.

KEYS[1]  moderation
KEYS[2]  connections of the person in this room, by the time they came
ARGV[1]  now, ms
ARGV[2]  ms after which a connection has ended by itself
ARGV[3]  user
ARGV[4]  connection id

Returns "unknown" if Redis does not know what the host has decided, "banned", or "welcome".
]]
local now, age = tonumber(ARGV[1]), tonumber(ARGV[2])
assert(#KEYS == 2 and #ARGV == 4 and now and age, 'admit: wrong arguments')

local got = redis.call('HMGET', KEYS[1], 'version', 'ban:' .. ARGV[3])
if not got[1] then return 'unknown' end
if got[2] then return 'banned' end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - age)
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('PEXPIRE', KEYS[2], age)
return 'welcome'
