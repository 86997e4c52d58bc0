-- All that one request takes at one stage, from every node's limits at once: each grants, or none is charged.
-- ARGV[1]: the time in microseconds, for tests; empty for the server's. Then for each key either
--   g interval(ns) room(us) least most floor(us): takes `most` units, at least `least`; `floor` is owed for all that the asker knows
--   b calls bytes window(us) add_calls add_bytes untold known_calls known_bytes known_left(us): a budget, -1 for any number
-- Returns 0, or the number of the first that refuses, and for each key
--   granted owed(us), or the part of a budget that is used up (0 none, 1 calls, 2 bytes) left(us) calls bytes
local now
if ARGV[1] == '' then
  local clock = redis.call('TIME')
  now = clock[1] * 1000000 + clock[2]
else
  now = tonumber(ARGV[1])
end
local at = 1
local function arg()
  at = at + 1
  return tonumber(ARGV[at])
end
local refused, writes, reply = 0, {}, {0}
local function say(...)
  for _, value in ipairs({...}) do reply[#reply + 1] = value end
end
local function write(key, always, value, left)
  writes[#writes + 1] = {key, always, value, math.ceil(left / 1000) + 1000}
end

local function limit(number, key)
  local interval, room, least, most, floor = arg(), arg(), arg(), arg(), arg()
  local owed = (tonumber(redis.call('GET', key) or '0') or 0) - now
  -- More than the burst is never owed: the clock was set back. Then the burst is, which lets nothing through for that long, and
  -- it is written down so that it is over then. Less than the asker knows of is never owed: the clock was set forward, or the store forgot.
  if owed > room then
    owed = room
    write(key, true, string.format('%.0f', now + room), room)
  end
  owed = math.max(owed, floor, 0)
  local granted = math.min(most, math.floor((room - owed) * 1000 / interval))
  if granted < least then
    if refused == 0 then refused = number end
    granted = 0
  end
  local cost = math.ceil(granted * interval / 1000)
  if owed + cost > 0 then
    write(key, false, string.format('%.0f', now + owed + cost), owed + cost)
  end
  say(granted, owed, cost)
end

local function budget(number, key)
  local most_calls, most_bytes, window = arg(), arg(), arg()
  local add_calls, add_bytes, untold = arg(), arg(), arg()
  local known_calls, known_bytes, known_left = arg(), arg(), arg()
  local ends, calls, bytes = string.match(redis.call('GET', key) or '', '^(%d+):(%d+):(%d+)$')
  local left = (tonumber(ends) or 0) - now
  calls, bytes = tonumber(calls) or 0, tonumber(bytes) or 0
  if left <= 0 then left, calls, bytes = 0, 0, 0 end
  -- What the asker knows counts for the time that is now: where none has begun here, and where both know of the same one.
  if known_left > 0 and (left == 0 or math.abs(left - known_left) <= math.min(2000000, window / 4)) then
    left = math.max(left, known_left)
    calls, bytes = math.max(calls, known_calls), math.max(bytes, known_bytes)
  end
  if left == 0 or left > window then left = window end
  bytes = bytes + untold
  local part = 0
  if most_calls >= 0 and calls + math.min(add_calls, most_calls) > most_calls then part = 1
  elseif most_bytes >= 0 and bytes >= most_bytes then part = 2 end
  if part > 0 and refused == 0 then refused = number end
  local function value(more_calls, more_bytes)
    return string.format('%.0f:%.0f:%.0f', now + left, calls + more_calls, bytes + more_bytes)
  end
  if untold > 0 then write(key, true, value(0, 0), left) end
  write(key, false, value(add_calls, add_bytes), left)
  say(part, left, calls, bytes)
end

for number, key in ipairs(KEYS) do
  at = at + 1
  if ARGV[at] == 'g' then limit(number, key) else budget(number, key) end
end
reply[1] = refused
for _, each in ipairs(writes) do
  -- What was used already is written even where nothing more is let through.
  if refused == 0 or each[2] then redis.call('SET', each[1], each[3], 'PX', string.format('%.0f', each[4])) end
end
return reply
