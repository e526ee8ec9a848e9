#!lua
--[[
like: how many of a person's likes count now. There are so many a second; what is more is left out.

KEYS[1]  moderation
KEYS[2]  what this person has liked: "<ms when all is free again> <token of the last call> <how many it counted>"
ARGV[1]  now, ms
ARGV[2]  user
ARGV[3]  likes
ARGV[4]  likes a second, and at once
ARGV[5]  token of the call: the same again gets the same answer

Returns how many count; none of a banned person.
]]
local now, likes, rate = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
assert(#KEYS == 2 and #ARGV == 5 and now and likes and rate and likes > 0, 'like: wrong arguments')

if redis.call('HEXISTS', KEYS[1], 'ban:' .. ARGV[2]) == 1 then return 0 end
local free_at, token, counted = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%S+) (%d+)$')
if token == ARGV[5] then return tonumber(counted) end
free_at = math.max(tonumber(free_at or now), now)
counted = math.min(likes, math.floor((now + 1000 - free_at) * rate / 1000))
if counted <= 0 then return 0 end
free_at = free_at + math.ceil(counted * 1000 / rate)
redis.call('SET', KEYS[2], string.format('%.0f %s %d', free_at, ARGV[5], counted), 'PX', free_at - now)
return counted
