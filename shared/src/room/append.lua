#!lua
--[[
append: write events into the room's log, under the room's next sequence numbers.

KEYS[1]  room
KEYS[2]  log
ARGV[1]  now, ms
ARGV[2]  least time between two wakes, ms
ARGV[3]  events the log keeps
ARGV[4]  chats among the events
ARGV[5]  likes to count
then for every event: the user it is for, or "" for all, and its JSON

Returns {head, wake}
  head  the sequence number of the last event of the room
  wake  1 if no pump is running and it is time to wake one, else 0
]]
local room, log, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
assert(#KEYS == 2 and now and #ARGV >= 5 and #ARGV % 2 == 1, 'append: wrong arguments')

local got = redis.call('HMGET', room, 'seq', 'pump_until', 'woken_at')
local seq = tonumber(got[1] or 0)
for i = 6, #ARGV, 2 do
  seq = seq + 1
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'to', ARGV[i], 'event', ARGV[i + 1])
end
redis.call('HSET', room, 'seq', string.format('%.0f', seq))
if ARGV[4] ~= '0' then redis.call('HINCRBY', room, 'chats', ARGV[4]) end
if ARGV[5] ~= '0' then redis.call('HINCRBY', room, 'likes', ARGV[5]) end

local wake = 0
if tonumber(got[2] or 0) <= now and tonumber(got[3] or 0) + ARGV[2] <= now then
  redis.call('HSET', room, 'woken_at', ARGV[1])
  wake = 1
end
return {seq, wake}
