#!lua
--[[
resume: what a viewer missed.

KEYS[1]  room
KEYS[2]  log
KEYS[3]  moderation
ARGV[1]  the last sequence number the viewer has
ARGV[2]  user

Returns {head, event, ...}
  head   the sequence number of the last event of the room; "" if the viewer has to begin anew, because the room is not known,
         has not got that far, or has forgotten what came next or what it once said under these numbers; "banned"
then for every event that the viewer missed: its sequence number, the user it is for or "" for all, its JSON
]]
local room, log, moderation, seen = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])
assert(#KEYS == 3 and #ARGV == 2 and seen, 'resume: wrong arguments')

if redis.call('HEXISTS', moderation, 'ban:' .. ARGV[2]) == 1 then return {'banned'} end
local got = redis.call('HMGET', room, 'seq', 'floor')
local head = got[1]
if not head or seen > tonumber(head) or seen < tonumber(got[2] or 0) then return {''} end
local answer = {head}
if seen == tonumber(head) then return answer end
for _, entry in ipairs(redis.call('XRANGE', log, '(' .. ARGV[1] .. '-0', '+')) do
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = string.match(entry[1], '^%d+'), entry[2][2], entry[2][4]
end
-- Numbers are given without gaps: if the next one is not there, it is forgotten.
if tonumber(answer[2]) ~= seen + 1 then return {''} end
return answer
