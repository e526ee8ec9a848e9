#!lua
--[[
register: from now on a pump sends this connection what comes after its cursor.

A room has as many shards as it needs, each with viewers and a pump of its own; a newcomer goes where there are fewest, and who
joins again stays. A room that shrinks keeps its shards.

KEYS[1]  room
KEYS[2]  people of the room
KEYS[3]  connection
then for every shard that the room may have: its viewers, and who came and went there
ARGV[1]  now, ms
ARGV[2]  least time between two wakes of a shard, ms
ARGV[3]  connections of a shard from which on there is another
ARGV[4]  connection id
ARGV[5]  cursor: the last sequence number the viewer has
ARGV[6]  user
ARGV[7]  how many comings and goings of a shard are kept
ARGV[8]  ms after which a connection has ended by itself

Returns {shard, wake}; wake is 1 if no pump is running for the shard and it is time to wake one, else 0. A wake is due in any
case, because the number of viewers has changed, and because events may have come between the viewer's snapshot and this call. A
wake of this very millisecond is due again: it may be this call's own, whose answer was lost, and a wake too many does no harm.
{-1, 0} if the connection is not there any more.
]]
local room, people, connection, now = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])
assert(#KEYS >= 5 and #KEYS % 2 == 1 and #ARGV == 8 and now, 'register: wrong arguments')

local known = redis.call('HMGET', connection, 'who', 'shard')
if not known[1] then return {-1, 0} end
local shard = tonumber(known[2])
if not shard then
  local shards, fields = tonumber(redis.call('HGET', room, 'shards') or 1), {}
  for i = 0, shards - 1 do fields[i + 1] = 'connections:' .. i end
  local counts, all = redis.call('HMGET', room, unpack(fields)), 0
  for i = 1, shards do
    counts[i] = math.max(0, tonumber(counts[i] or 0))
    all = all + counts[i]
    if not shard or counts[i] < counts[shard + 1] then shard = i - 1 end
  end
  if all >= shards * ARGV[3] and shards < (#KEYS - 3) / 2 then
    shard = shards
    redis.call('HSET', room, 'shards', shards + 1)
  end
end

local function own(field) return field .. ':' .. shard end
local viewers, changes = KEYS[2 * shard + 4], KEYS[2 * shard + 5]
assert(changes, 'register: no such shard')
local version = redis.call('HINCRBY', room, own('viewers_version'), 1)
local record = ARGV[5] .. ' ' .. version .. ' 0 ' .. ARGV[1] .. ' ' .. ARGV[6]
if redis.call('HSET', viewers, ARGV[4], record) == 1 then
  redis.call('HINCRBY', room, own('connections'), 1)
  redis.call('HINCRBY', people, ARGV[6], 1)
end
redis.call('RPUSH', changes, ARGV[4] .. ' ' .. record)
redis.call('LTRIM', changes, -ARGV[7], -1)
redis.call('HSET', connection, 'shard', shard, 'cursor', ARGV[5])
for _, key in ipairs({viewers, changes, people}) do redis.call('PEXPIRE', key, ARGV[8]) end
-- Nobody of a shard that is new has to be told what came before its first viewer.
redis.call('HSETNX', room, own('sent'), ARGV[5])
local got = redis.call('HMGET', room, own('pump_until'), own('woken_at'))
local wake = tonumber(got[1] or 0) <= now and (tonumber(got[2] or 0) + ARGV[2] <= now or got[2] == ARGV[1])
if wake then redis.call('HSET', room, own('woken_at'), ARGV[1]) end
return {shard, wake and 1 or 0}
