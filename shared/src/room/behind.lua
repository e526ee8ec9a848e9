#!lua
--[[
behind: how far these viewers got, who did not get the frame that is settled next, or have caught up since.

A pump writes this down before it settles a frame. The pump that replaces it takes everyone else to have that frame.

KEYS[1]  viewers of the shard
then for every viewer: ARGV connection id, cursor, version, ends of frames after the cursor that the viewer may have or not ("0" is
none; with commas). A version above all others keeps the cursor as it is; 0 is that of somebody who has what is settled.

Returns how many of them are still there.
]]
local viewers, written = KEYS[1], 0
assert(#KEYS == 1 and #ARGV >= 4 and #ARGV % 4 == 0, 'behind: wrong arguments')

for i = 1, #ARGV, 4 do
  local since, user = string.match(redis.call('HGET', viewers, ARGV[i]) or '', '^%d+ %d+ %S+ (%d+) (.+)$')
  if since then
    local record = table.concat({ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], since, user}, ' ')
    redis.call('HSET', viewers, ARGV[i], record)
    written = written + 1
  end
end
return written
