#!lua
--[[
append: write events into the room's log, under the room's next sequence numbers.

The same token again gets the same answer, and nothing is written. The room remembers its latest 32 tokens or so, which is what
comes in while one caller finds its connection dead and asks again at once. A room without a sequence (new, or Redis lost its
memory) starts at the time in microseconds, above everything that screens have seen.

What viewers may resume from is cut by time: every so often the room notes which event was the last one, and the log is cut at
the note that is old enough.

KEYS[1]  room
KEYS[2]  log
ARGV[1]  now, ms
ARGV[2]  least time between two wakes of a shard, ms
ARGV[3]  how long the log keeps an event at least, ms
ARGV[4]  chats among the events
ARGV[5]  likes to count
ARGV[6]  token of the call
then for every event: the user it is for, or "" for all, and its JSON

Returns {head, wakes}
  head   the sequence number of the last event of the room
  wakes  the shards that no pump is running for and that it is time to wake one for: "0,3", or "-" for none
]]
local room, log, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
assert(#KEYS == 2 and now and #ARGV >= 6 and #ARGV % 2 == 0, 'append: wrong arguments')

local got = redis.call('HMGET', room, 'seq', 'appended', 'shards', 'noted')
local appended = got[2] or ''
local _, before = string.find(appended, ARGV[6], 1, true)
local head, woke = string.match(appended, '^ (%d+) (%S+)', (before or #appended) + 1)
if head then return {tonumber(head), woke} end
local seq = tonumber(got[1] or now * 1000)
for i = 7, #ARGV, 2 do
  seq = seq + 1
  redis.call('XADD', log, string.format('%.0f-0', seq), 'to', ARGV[i], 'event', ARGV[i + 1])
end
if ARGV[4] ~= '0' then redis.call('HINCRBY', room, 'chats', ARGV[4]) end
if ARGV[5] ~= '0' then redis.call('HINCRBY', room, 'likes', ARGV[5]) end

local write = {'HSET', room, 'seq', string.format('%.0f', seq)}
local function set(field, value) write[#write + 1], write[#write + 2] = field, value end

-- Two fields a shard.
local fields, wakes = {}, {}
for shard = 0, tonumber(got[3] or 1) - 1 do
  fields[#fields + 1], fields[#fields + 2] = 'pump_until:' .. shard, 'woken_at:' .. shard
end
local pumps = redis.call('HMGET', room, unpack(fields))
for i = 1, #pumps, 2 do
  if tonumber(pumps[i] or 0) <= now and tonumber(pumps[i + 1] or 0) + ARGV[2] <= now then
    set(fields[i + 1], ARGV[1])
    wakes[#wakes + 1] = (i - 1) / 2
  end
end
wakes = #wakes > 0 and table.concat(wakes, ',') or '-'

-- The newest note in front: "<ms>:<seq> ". A tenth of the time apart, so that the log keeps a tenth more at most.
local noted = got[4] or ''
if tonumber(string.match(noted, '^%d+') or 0) + ARGV[3] / 10 <= now then
  local keep, cut = string.format('%.0f:%.0f ', now, seq), nil
  for at, last in string.gmatch(noted, '(%d+):(%d+) ') do
    if tonumber(at) + ARGV[3] < now then cut = last break end
    keep = keep .. at .. ':' .. last .. ' '
  end
  if cut then redis.call('XTRIM', log, 'MINID', '~', cut) end
  set('noted', keep)
end

-- The newest in front; the end is cut to length, and a token whose answer is cut is not found.
set('appended', string.sub(string.format('%s %.0f %s ', ARGV[6], seq, wakes) .. appended, 1, 32 * 36))
redis.call(unpack(write))
return {seq, wakes}
