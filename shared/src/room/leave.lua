#!lua
--[[
leave: these connections are gone.

KEYS[1]  room
KEYS[2]  viewers of the shard
KEYS[3]  people of the room
KEYS[4]  who came to the shard and went
ARGV[1]  shard
ARGV[2]  how many comings and goings are kept
then     connection ids

Returns how many of them were registered. The viewer count follows with the room's next frame; leaving wakes no pump,
because nobody waits for it.
]]
local room, viewers, people, changes, shard = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
assert(#KEYS == 4 and #ARGV >= 3, 'leave: wrong arguments')

local gone = 0
for i = 3, #ARGV do
  local user = string.match(redis.call('HGET', viewers, ARGV[i]) or '', '^%d+ %d+ %S+ %d+ (.+)$')
  if user then
    gone = gone + redis.call('HDEL', viewers, ARGV[i])
    redis.call('RPUSH', changes, ARGV[i])
    if redis.call('HINCRBY', people, user, -1) <= 0 then redis.call('HDEL', people, user) end
  end
end
if gone > 0 then
  redis.call('LTRIM', changes, -ARGV[2], -1)
  redis.call('HINCRBY', room, 'viewers_version:' .. shard, gone)
  redis.call('HINCRBY', room, 'connections:' .. shard, -gone)
end
return gone
