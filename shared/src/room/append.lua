#!lua
--[[
append: write events into the room's log, under the room's next sequence numbers.

The same token again gets the same answer, and nothing is written. The room remembers its latest 32 tokens or so, which is what
comes in while one caller finds its connection dead and asks again at once. A room without a sequence (new, or Redis lost its
memory) starts at the time in microseconds, above everything that screens have seen.

KEYS[1]  room
KEYS[2]  log
ARGV[1]  now, ms
ARGV[2]  least time between two wakes, ms
ARGV[3]  events the log keeps
ARGV[4]  chats among the events
ARGV[5]  likes to count
ARGV[6]  token of the call
then for every event: the user it is for, or "" for all, and its JSON

Returns {head, wake}
  head  the sequence number of the last event of the room
  wake  1 if no pump is running and it is time to wake one, else 0
]]
local room, log, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
assert(#KEYS == 2 and now and #ARGV >= 6 and #ARGV % 2 == 0, 'append: wrong arguments')

local got = redis.call('HMGET', room, 'seq', 'pump_until', 'woken_at', 'appended')
local appended = got[4] or ''
local _, before = string.find(appended, ARGV[6], 1, true)
local head, woke = string.match(appended, '^ (%d+) (%d)', (before or #appended) + 1)
if head then return {tonumber(head), tonumber(woke)} end
local seq = tonumber(got[1] or now * 1000)
for i = 7, #ARGV, 2 do
  seq = seq + 1
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'to', ARGV[i], 'event', ARGV[i + 1])
end
if ARGV[4] ~= '0' then redis.call('HINCRBY', room, 'chats', ARGV[4]) end
if ARGV[5] ~= '0' then redis.call('HINCRBY', room, 'likes', ARGV[5]) end

local wake = 0
if tonumber(got[2] or 0) <= now and tonumber(got[3] or 0) + ARGV[2] <= now then
  redis.call('HSET', room, 'woken_at', ARGV[1])
  wake = 1
end
-- The newest in front; the end is cut to length, and a token whose answer is cut is not found.
appended = string.format('%s %.0f %d ', ARGV[6], seq, wake) .. appended
redis.call('HSET', room, 'seq', string.format('%.0f', seq), 'appended', string.sub(appended, 1, 32 * 36))
return {seq, wake}
