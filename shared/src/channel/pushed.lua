#!lua
--[[
pushed: a listing was tried. If it was put on the backlog again since it was handed out, it stays.

KEYS[1]  ready: product by score, 1e13 a class of urgency
KEYS[2]  later: product by the time it is to be tried again, ms, and eighths: its class
KEYS[3]  marks
ARGV[1]  product
ARGV[2]  the marks it was handed out with
ARGV[3]  when to try it again, ms; "" if it is done

Returns 1
]]
local ready, later, marks, product = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
assert(#KEYS == 3 and #ARGV == 3, 'pushed: wrong arguments')
if (redis.call('HGET', marks, product) or '0') == ARGV[2] then
  local class = math.floor((redis.call('ZSCORE', ready, product) or 0) / 1e13)
  redis.call('ZREM', ready, product)
  redis.call('HDEL', marks, product)
  if ARGV[3] ~= '' then redis.call('ZADD', later, string.format('%.3f', ARGV[3] + class / 8), product) end
end
return 1
