#!lua
--[[
pushed: a listing was tried. If it was put on the backlog again since it was handed out, it stays.

KEYS[1]  ready
KEYS[2]  later
KEYS[3]  marks
ARGV[1]  product
ARGV[2]  the marks it was handed out with
ARGV[3]  when to try it again, ms; "" if it is done

Returns 1
]]
local ready, later, marks, product = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
assert(#KEYS == 3 and #ARGV == 3, 'pushed: wrong arguments')
if (redis.call('HGET', marks, product) or '0') == ARGV[2] then
  redis.call('ZREM', ready, product)
  redis.call('HDEL', marks, product)
  if ARGV[3] ~= '' then redis.call('ZADD', later, ARGV[3], product) end
end
return 1
