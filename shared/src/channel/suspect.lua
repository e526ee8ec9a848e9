#!lua
--[[
suspect: listings of a channel that may have to show something else now.

KEYS[1]  ready: product by score, the lowest first
KEYS[2]  marks: how often a product was put on the backlog since it was last taken off it
then for every product: product, score, "1" if it is only to be looked at once more should it be on the backlog already: it shows
what it should, but somebody may be writing an older number just now

Returns 1
]]
local ready, marks = KEYS[1], KEYS[2]
assert(#KEYS == 2 and #ARGV >= 3 and #ARGV % 3 == 0, 'suspect: wrong arguments')
for i = 1, #ARGV, 3 do
  local product, score, only_again = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if only_again ~= '1' or redis.call('ZSCORE', ready, product) then
    -- The more urgent place is kept; the mark says that it came again, also to who has it in hand.
    redis.call('ZADD', ready, 'LT', score, product)
    redis.call('HINCRBY', marks, product, 1)
  end
end
return 1
