#!lua
--[[
speak: whether a person may say something in a room now; if so, it is counted against them. All that the host has decided and
all that this person has said is looked at in one step.

How often: a person has a number of messages at once, and one more an interval. Kept is the time at which they are all free
again, which is one number for any burst. A refused message costs nothing. The same token again gets "said" again: the answer
to the first may have been lost.

KEYS[1]  moderation
KEYS[2]  what this person has said: "<ms when all is free again> <ms of the last message> <token of it>"
ARGV[1]  now, ms
ARGV[2]  user
ARGV[3]  "1" for the host, whom neither freeze nor slow mode stops
ARGV[4]  version of the banned words that the message was compared with, or ""
ARGV[5]  "1" if one of them is in it
ARGV[6]  messages at once
ARGV[7]  ms that bring one more
ARGV[8]  token of the call

Returns
  {"unknown"}                  Redis does not know what the host has decided
  {"changed", version, words}  the banned words are these by now
  {"banned"}, {"frozen"}, {"word"}
  {"slow", ms}, {"fast", ms}   and after how long it would be allowed
  {"said"}
]]
local now, burst, interval = tonumber(ARGV[1]), tonumber(ARGV[6]), tonumber(ARGV[7])
assert(#KEYS == 2 and #ARGV == 8 and now and burst and interval, 'speak: wrong arguments')

local got = redis.call('HMGET', KEYS[1], 'version', 'frozen', 'slow_ms', 'words', 'ban:' .. ARGV[2])
if not got[1] then return {'unknown'} end
if got[1] ~= ARGV[4] then return {'changed', got[1], got[4]} end
if got[5] then return {'banned'} end

local free_at, last, token = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d+) (%S+)$')
if token == ARGV[8] then return {'said'} end
local host, slow = ARGV[3] == '1', tonumber(got[3])
if got[2] == '1' and not host then return {'frozen'} end
if ARGV[5] == '1' then return {'word'} end
if last and not host and last + slow > now then return {'slow', string.format('%.0f', last + slow - now)} end
free_at = math.max(tonumber(free_at or now), now) + interval
local wait = free_at - now - burst * interval
if wait > 0 then return {'fast', string.format('%.0f', wait)} end

redis.call('SET', KEYS[2], string.format('%.0f %.0f %s', free_at, now, ARGV[8]), 'PX', math.max(free_at - now, slow))
return {'said'}
