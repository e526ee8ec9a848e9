#!lua
--[[
quota: may a call be made now? A bucket of tokens that fills by the rate; every runner of a channel takes from the same one.

KEYS[1]  bucket
ARGV[1]  now, ms
ARGV[2]  tokens that come back a second, by the documents
ARGV[3]  tokens it holds
ARGV[4]  which part of those (0 to 1) a caller leaves to more urgent ones

Returns how long to wait, ms; 0: the call may be made, and its token is taken
]]
local bucket, now, rate, burst, share = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
assert(#KEYS == 1 and #ARGV == 4 and now and rate and rate > 0 and burst and share, 'quota: wrong arguments')

local known = redis.call('HMGET', bucket, 'tokens', 'at', 'rate', 'burst', 'blocked', 'urgent')
-- What the marketplace's headers said overrules the documents.
rate, burst = tonumber(known[3]) or rate, tonumber(known[4]) or burst
local blocked = tonumber(known[5]) or 0
if blocked > now then return blocked - now end
-- Where a bucket holds one token there is none to leave: the next is for who waits and leaves none to others.
local urgent = tonumber(known[6]) or 0
if share > 0 and urgent > now then return urgent - now + math.ceil(1000 / rate) end
local tokens = math.min(burst, (tonumber(known[1]) or burst) + math.max(0, now - (tonumber(known[2]) or now)) * rate / 1000)
local kept = math.min(burst * share, burst - 1)
local missing = 1 + kept - tokens
-- A token that is all but there is there: sums of parts of one are not exact.
if missing <= 1e-6 then
  tokens, missing = math.max(0, tokens - 1), 0
end
redis.call('HSET', bucket, 'tokens', string.format('%.6f', tokens), 'at', ARGV[1])
if share == 0 and missing > 0 then redis.call('HSET', bucket, 'urgent', now + math.ceil(missing * 1000 / rate)) end
redis.call('PEXPIRE', bucket, 86400000)
return math.ceil(missing * 1000 / rate)
