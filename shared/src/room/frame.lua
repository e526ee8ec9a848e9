#!lua
--[[
frame: a pump's one call a frame. It settles the frame before, writes down what changed in stock, likes and viewers, and
claims the next frame; or it ends the pump, if there is nothing to send. Ending is decided here, where waking is decided
too (`append`, `register`), so no wake can fall between them.

A Redis that does not remember the frame it gave this pump, or its viewers, has an older memory, or none (a replica took over).
The room goes on above everything that screens have seen, not in their numbers, which would mean two things; nobody can resume
from those; and the pump ends and sends its viewers away, who come back and get the room anew.

A claimed frame is remembered until it is settled, and so is an answer that nothing is new, by which the pump catches up with who
is behind: the pump that replaces a dead one claims the same events again, so a viewer gets the same frame twice at worst, never
one that overlaps.

While a frame is under way it may grow: who has not been posted to gets what is new along with it. Every end that it had is
remembered, for a viewer's frame may have gone to any of them.

KEYS[1]  room
KEYS[2]  log
KEYS[3]  gate of the broadcast
KEYS[4]  people of the room
KEYS[5]  who came to the shard and went
ARGV[1]  token of the pump
ARGV[2]  until when the lease goes, ms
ARGV[3]  the sequence number up to which the last frame goes, or ""
ARGV[4]  the viewers version that frame is for, or ""
ARGV[5]  "1" to end the pump if there is nothing to send
ARGV[6]  the time as viewers read it
ARGV[7]  now, ms: a room without a sequence starts there, in microseconds, above everything that screens have seen
ARGV[8]  shard
ARGV[9]  "1" if the last frame is under way, and is to grow; else it was sent

Returns
  {"lost"}                       another pump has the lease
  {"forgotten"}                  Redis has forgotten what the caller has sent, and to whom
  {"ended"}
  {"frame", from, head, viewers version, served, connections, claimed, changes, change, ..., seq, to, event, ...}
                                 the events after `from` up to `head`, if they differ; `to` is a user or ""
`served` is the viewers version that `from` was sent to: who registered later has only what came up to their registration.
`connections` are those of all shards. `claimed` are the ends, with spaces, of frames that somebody may have posted before this
call, if it claims nothing new: a pump that takes over keeps to them, and the last of them is `head`. `changes` is how many came
and went since the viewers version of the last frame, each as `register` and `leave` write it; "" if all viewers are to be read.
]]
local room, log, gate, people, came_and_went, shard = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[8]
assert(#KEYS == 5 and #ARGV == 9 and tonumber(ARGV[7]), 'frame: wrong arguments')

local state = {}
local all = redis.call('HGETALL', room)
for i = 1, #all, 2 do state[all[i]] = all[i + 1] end
local function own(field) return field .. ':' .. shard end
local ends, is_end, under_way = {}, {}, ARGV[9] == '1'
for last in string.gmatch(state[own('claimed')] or '', '%d+') do
  ends[#ends + 1], is_end[last] = last, true
end
-- A pump that asks again because the answer was lost is not one that Redis has forgotten.
if state[own('pump')] == '' and state[own('ended')] == ARGV[1] then return {'ended'} end
local is_holder, version = state[own('pump')] == ARGV[1], tonumber(state[own('viewers_version')] or 0)
if ARGV[3] ~= '' and (version < tonumber(ARGV[4]) or
  is_holder and state[own('sent')] ~= ARGV[3] and not is_end[ARGV[3]] or
  (state[own('pump')] or '') == '') then
  local floor = string.format('%.0f', math.max(state.seq or 0, ARGV[7] * 1000))
  redis.call('HSET', room, 'seq', floor, 'floor', floor)
  if is_holder then
    redis.call('HSET', room, own('pump'), '', own('pump_until'), '0')
    redis.call('HDEL', room, own('claimed'))
  end
  return {'forgotten'}
end
if not is_holder then return {'lost'} end

local write = {'HSET', room, own('pump_until'), ARGV[2]}
local function set(field, value)
  write[#write + 1], write[#write + 2] = field, value
  state[field] = value
end
if ARGV[3] ~= '' and not under_way then
  set(own('sent'), ARGV[3])
  set(own('served'), ARGV[4])
  while ends[1] and tonumber(ends[1]) <= tonumber(ARGV[3]) do table.remove(ends, 1) end
  if not ends[1] then redis.call('HDEL', room, own('claimed')) end
end

local seq = tonumber(state.seq or ARGV[7] * 1000)
local function append(event)
  seq = seq + 1
  redis.call('XADD', log, string.format('%.0f-0', seq), 'to', '', 'event', event)
end

local connections = 0
-- A claim that was not heard of is answered again.
local is_new = not ends[1] or under_way and ends[#ends] == ARGV[3]
if is_new then
  for i = 1, #all, 2 do
    local product = string.match(all[i], '^product:(.+)$')
    if product then
      local stock = redis.call('HGET', gate, 'stock:' .. product)
      local left, version = string.match(stock or '', '^(-?%d+) (%d+)$')
      local shown_left, shown_version = string.match(state['shown:' .. product] or '', '^(%d+) (%d+)$')
      if left and version ~= shown_version then
        left = string.format('%.0f', math.max(0, left))
        if left ~= shown_left then
          append('{"type":"inventory_update","product_id":"' .. product .. '","remaining":' .. left ..
            ',"version":' .. version .. ',"timestamp":"' .. ARGV[6] .. '"}')
          if left == '0' and shown_left then
            append('{"type":"product_closed","product_id":"' .. product .. '","reason":"sold_out"}')
          end
        end
        set('shown:' .. product, left .. ' ' .. version)
      end
    end
  end
  if (state.likes or '0') ~= (state.likes_shown or '0') then
    append('{"type":"like_count","count":' .. state.likes .. '}')
    set('likes_shown', state.likes)
  end
  local watching = string.format('%d', redis.call('HLEN', people))
  if watching ~= (state.viewers_shown or '0') then
    append('{"type":"viewer_count","count":' .. watching .. '}')
    set('viewers_shown', watching)
  end
  set('seq', string.format('%.0f', seq))
end
for i = 1, #all, 2 do
  if string.find(all[i], '^connections:') then connections = connections + all[i + 1] end
end

local viewers_version, sent = state[own('viewers_version')] or '0', state[own('sent')] or '0'
local served, from = state[own('served')] or '0', under_way and ARGV[3] or sent
local around = string.format('%d', math.max(0, connections))
if state.seq == sent and ARGV[5] == '1' and not ends[1] then
  set(own('pump_until'), '0')
  set(own('pump'), '')
  set(own('ended'), ARGV[1])
  redis.call(unpack(write))
  return {'ended'}
end
if is_new and ends[#ends] ~= state.seq then ends[#ends + 1] = state.seq end
local head, claimed = ends[#ends], table.concat(ends, ' ')
set(own('claimed'), claimed)
redis.call(unpack(write))

-- One a version: the latest of them, if so many are kept.
local changes = ARGV[3] ~= '' and version - ARGV[4]
local kept = changes == 0 and {} or changes and redis.call('LRANGE', came_and_went, -changes, -1)
local is_whole = kept and #kept == changes
local answer = {'frame', from, head, viewers_version, served, around, is_new and '' or claimed, is_whole and string.format('%d', changes) or ''}
if is_whole then
  for i = 1, changes do answer[#answer + 1] = kept[i] end
end
if head == from then return answer end
for _, entry in ipairs(redis.call('XRANGE', log, '(' .. from .. '-0', head .. '-0')) do
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = string.match(entry[1], '^%d+'), entry[2][2], entry[2][4]
end
return answer
