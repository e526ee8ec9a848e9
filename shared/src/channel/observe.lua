#!lua
--[[
observe: what an answer of the marketplace said of the quota.

KEYS[1]  bucket
KEYS[2]  calls left of every bucket of the channel, for people to read
ARGV[1]  now, ms
ARGV[2]  calls left now; "" if the answer did not say
ARGV[3]  tokens that come back a second; "" if it did not say
ARGV[4]  tokens it holds; "" if it did not say
ARGV[5]  nothing more for so long, ms; 0 if it may go on
ARGV[6]  name of the bucket

Returns 1
]]
local bucket, now = KEYS[1], tonumber(ARGV[1])
assert(#KEYS == 2 and #ARGV == 6 and now, 'observe: wrong arguments')
if ARGV[3] ~= '' then redis.call('HSET', bucket, 'rate', ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', bucket, 'burst', ARGV[4]) end
local known = redis.call('HMGET', bucket, 'tokens', 'blocked')
local left = tonumber(ARGV[2])
-- Calls that are under way are not in the marketplace's count yet: it lowers ours, and never raises it.
if left and (not known[1] or left < tonumber(known[1])) then
  redis.call('HSET', bucket, 'tokens', left, 'at', ARGV[1])
end
if left then redis.call('HSET', KEYS[2], ARGV[6], left) end
if tonumber(ARGV[5]) > 0 then
  redis.call('HSET', bucket, 'blocked', math.max(tonumber(known[2]) or 0, now + tonumber(ARGV[5])))
end
redis.call('PEXPIRE', bucket, 86400000)
return 1
