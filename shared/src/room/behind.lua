#!lua
--[[
behind: how far these viewers got, who did not get the frame that is settled next, or have caught up since.

A pump writes this down before it settles a frame. The pump that replaces it takes everyone else to have that frame.

KEYS[1]  viewers of the shard
KEYS[2]  room
ARGV[1]  shard
ARGV[2]  token of the pump
then for every viewer: ARGV connection id, cursor, version, ends of frames after the cursor that the viewer may have or not ("0" is
none; with commas). A version above all others keeps the cursor as it is; 0 is that of somebody who has what is settled.

Returns 1, or 0 if another pump has the lease: it knows better.
]]
local viewers, room = KEYS[1], KEYS[2]
assert(#KEYS == 2 and #ARGV >= 6 and #ARGV % 4 == 2, 'behind: wrong arguments')

if redis.call('HGET', room, 'pump:' .. ARGV[1]) ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 4 do
  local since, user = string.match(redis.call('HGET', viewers, ARGV[i]) or '', '^%d+ %d+ %S+ (%d+) (.+)$')
  if since then
    local record = table.concat({ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], since, user}, ' ')
    redis.call('HSET', viewers, ARGV[i], record)
  end
end
return 1
