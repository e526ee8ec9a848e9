#!lua
--[[
rules: what the host of a room has decided, as the catalogue has it. An older state never replaces a newer one.

KEYS[1]  moderation
ARGV[1]  version of the state
ARGV[2]  "1" if the chat is frozen
ARGV[3]  ms that everyone waits between two messages, 0 for none
ARGV[4]  the pinned message, JSON, or ""
ARGV[5]  the banned words, a JSON list
then every banned user

Returns 1 if it was written, 0 if a state as new is there.
]]
local room = KEYS[1]
assert(#KEYS == 1 and #ARGV >= 5 and tonumber(ARGV[1]) and tonumber(ARGV[3]), 'rules: wrong arguments')

local known = tonumber(redis.call('HGET', room, 'version') or -1)
if known >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', room)
redis.call('HSET', room, 'version', ARGV[1], 'frozen', ARGV[2], 'slow_ms', ARGV[3], 'pinned', ARGV[4], 'words', ARGV[5])
for i = 6, #ARGV do redis.call('HSET', room, 'ban:' .. ARGV[i], '1') end
return 1
