#!lua
--[[
backlog: hand out the listings of a channel that have to be pushed, the most urgent first, to the one runner of the channel.

KEYS[1]  ready: product by score, the lowest first
KEYS[2]  later: product by the time it is to be tried again, ms, and eighths: its class of urgency (`pushed.lua`)
KEYS[3]  lease of the runner
KEYS[4]  marks: how often a product was put on the backlog since it was last taken off it
ARGV[1]  now, ms
ARGV[2]  token of the runner
ARGV[3]  how long its lease lasts, ms
ARGV[4]  products at most

Returns
  {"other"}                          another runner has the channel
  {"turn", product, score, marks, ...}   the caller has it now; what is to be done, none if the backlog is empty
]]
local ready, later, lease, marks = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, token, ttl, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
assert(#KEYS == 4 and #ARGV == 4 and now and ttl and most, 'backlog: wrong arguments')

local holder = redis.call('GET', lease)
if holder and holder ~= token then return {'other'} end
redis.call('SET', lease, token, 'PX', ttl)
local again = redis.call('ZRANGEBYSCORE', later, '-inf', '(' .. ARGV[1] + 1, 'WITHSCORES', 'LIMIT', 0, 100)
for i = 1, #again, 2 do
  -- What was tried and failed is as urgent as before, and goes behind those of its class that were not.
  local class = again[i + 1] % 1 * 8
  redis.call('ZADD', ready, 'LT', class * 1e13 + now, again[i])
  redis.call('ZREM', later, again[i])
end
local due, answer = redis.call('ZRANGE', ready, 0, most - 1, 'WITHSCORES'), {'turn'}
for i = 1, #due, 2 do
  answer[#answer + 1] = due[i]
  answer[#answer + 1] = due[i + 1]
  answer[#answer + 1] = redis.call('HGET', marks, due[i]) or '0'
end
return answer
