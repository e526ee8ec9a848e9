#!lua
--[[
frame: the pump's one call a frame. It settles the frame before, writes down what changed in stock, likes and viewers, and
claims the next frame; or it ends the pump, if there is nothing to send. Ending is decided here, where waking is decided
too (`append`, `register`), so no wake can fall between them.

A claimed frame is remembered until it is settled: the pump that replaces a dead one claims the same events again, so a
viewer gets the same frame twice at worst, never one that overlaps.

KEYS[1]  room
KEYS[2]  log
KEYS[3]  gate of the broadcast
ARGV[1]  token of the pump
ARGV[2]  until when the lease goes, ms
ARGV[3]  the sequence number up to which the last frame was sent, or ""
ARGV[4]  the viewers version that frame was sent to, or ""
ARGV[5]  "1" to end the pump if there is nothing to send
ARGV[6]  events the log keeps
ARGV[7]  the time as viewers read it
ARGV[8]  people watching, or "" if not known yet
ARGV[9]  now, ms: a room without a sequence starts there, in microseconds, above everything that screens have seen

Returns
  {"lost"}                                              another pump has the lease
  {"ended"}
  {"quiet", head, viewers version, served}              nothing to send
  {"frame", head, viewers version, served, from, seq, to, event, ...}  the events after `from` up to `head`; `to` is a user or ""
`served` is the viewers version that `from` was sent to: who registered later has only what came up to their registration.
]]
local room, log, gate = KEYS[1], KEYS[2], KEYS[3]
assert(#KEYS == 3 and #ARGV == 9 and tonumber(ARGV[9]), 'frame: wrong arguments')

local state = {}
local all = redis.call('HGETALL', room)
for i = 1, #all, 2 do state[all[i]] = all[i + 1] end
if state.pump ~= ARGV[1] then return {'lost'} end

local write = {'HSET', room, 'pump_until', ARGV[2]}
local function set(field, value)
  write[#write + 1], write[#write + 2] = field, value
  state[field] = value
end
if ARGV[3] ~= '' then
  set('sent', ARGV[3])
  set('served', ARGV[4])
  if state.claimed and tonumber(state.claimed) <= tonumber(ARGV[3]) then
    redis.call('HDEL', room, 'claimed')
    state.claimed = nil
  end
end

local seq = tonumber(state.seq or ARGV[9] * 1000)
local function append(event)
  seq = seq + 1
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[6], string.format('%.0f-0', seq), 'to', '', 'event', event)
end

if not state.claimed then
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
            ',"version":' .. version .. ',"timestamp":"' .. ARGV[7] .. '"}')
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
  if ARGV[8] ~= '' and ARGV[8] ~= state.viewers_shown then
    append('{"type":"viewer_count","count":' .. ARGV[8] .. '}')
    set('viewers_shown', ARGV[8])
  end
  set('seq', string.format('%.0f', seq))
end

local viewers_version, sent, served = state.viewers_version or '0', state.sent or '0', state.served or '0'
local head = state.claimed or state.seq
if head == sent then
  if ARGV[5] == '1' then
    set('pump_until', '0')
    set('pump', '')
    redis.call(unpack(write))
    return {'ended'}
  end
  redis.call(unpack(write))
  return {'quiet', head, viewers_version, served}
end
set('claimed', head)
redis.call(unpack(write))

local answer = {'frame', head, viewers_version, served, sent}
for _, entry in ipairs(redis.call('XRANGE', log, '(' .. sent .. '-0', head .. '-0')) do
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = string.match(entry[1], '^%d+'), entry[2][2], entry[2][4]
end
return answer
