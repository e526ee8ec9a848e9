#!lua
--[[
register: from now on a pump sends this connection what comes after its cursor.

A room has as many shards as it needs, each with viewers and a pump of its own; a newcomer goes where there are fewest. A room
that shrinks keeps its shards.

KEYS[1]  room
KEYS[2]  people of the room
KEYS[3], KEYS[4], ...  viewers of every shard that the room may have
ARGV[1]  now, ms
ARGV[2]  least time between two wakes of a shard, ms
ARGV[3]  connections of a shard from which on there is another
ARGV[4]  connection id
ARGV[5]  cursor: the last sequence number the viewer has
ARGV[6]  user
ARGV[7]  the shard the connection is in since it joined before, or "" if the caller knows of none

Returns {shard, wake}; wake is 1 if no pump is running for the shard and it is time to wake one, else 0. A wake is due in any
case, because the number of viewers has changed, and because events may have come between the viewer's snapshot and this call. A
wake of this very millisecond is due again: it may be this call's own, whose answer was lost, and a wake too many does no harm.
]]
local room, people, now = KEYS[1], KEYS[2], tonumber(ARGV[1])
assert(#KEYS >= 3 and #ARGV == 7 and now, 'register: wrong arguments')

local shard = tonumber(ARGV[7])
if not shard then
  local shards, fields = tonumber(redis.call('HGET', room, 'shards') or 1), {}
  for i = 0, shards - 1 do fields[i + 1] = 'connections:' .. i end
  local counts, all, joined = redis.call('HMGET', room, unpack(fields)), 0, nil
  for i = 1, shards do
    counts[i] = math.max(0, tonumber(counts[i] or 0))
    all = all + counts[i]
    if not shard or counts[i] < counts[shard + 1] then shard = i - 1 end
    if redis.call('HEXISTS', KEYS[i + 2], ARGV[4]) == 1 then joined = i - 1 end
  end
  if joined then
    -- Its answer was lost, or two joins came at once: in two shards it would get everything twice.
    shard = joined
  elseif all >= shards * ARGV[3] and shards < #KEYS - 2 then
    shard = shards
    redis.call('HSET', room, 'shards', shards + 1)
  end
end

local function own(field) return field .. ':' .. shard end
local viewers = assert(KEYS[shard + 3], 'register: no such shard')
local version = redis.call('HINCRBY', room, own('viewers_version'), 1)
local record = ARGV[5] .. ' ' .. version .. ' 0 ' .. ARGV[1] .. ' ' .. ARGV[6]
if redis.call('HSET', viewers, ARGV[4], record) == 1 then
  redis.call('HINCRBY', room, own('connections'), 1)
  redis.call('HINCRBY', people, ARGV[6], 1)
end
-- Nobody of a shard that is new has to be told what came before its first viewer.
redis.call('HSETNX', room, own('sent'), ARGV[5])
local got = redis.call('HMGET', room, own('pump_until'), own('woken_at'))
local wake = tonumber(got[1] or 0) <= now and (tonumber(got[2] or 0) + ARGV[2] <= now or got[2] == ARGV[1])
if wake then redis.call('HSET', room, own('woken_at'), ARGV[1]) end
return {shard, wake and 1 or 0}
