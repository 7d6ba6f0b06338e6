-- explain: where a task stands, what is before it and what it was given back for.
-- KEYS  1 leases (zset)   2 bucket (hash)   3 workers (zset)   4 lines (zset)   then for each priority: ready (list), due (zset)
-- ARGV  1 id   2 how many places of a list are looked at
-- Returns {run record or false, ms until its lease runs out or 0, note or false, workers, number of the priority where it stands or 0, how many are before it there or -1, ms until it is due or 0, "o" or "f" if it waits in the line of its key or false, how many of its key are before it, the first of them, then for each priority how many are ready}
local MOST_TEXT = 400
local id, most = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function left(score) return score and bounded_ms(math.ceil(tonumber(score) - now)) or 0 end
local function bounded(text) return text and string.sub(text, 1, MOST_TEXT) end
local stored = redis.call('HMGET', KEYS[2], RUN .. id, LINE .. id)
local _, _, holder = parse_run(stored[1])

-- Nothing for one that has been let go, or has no place yet.
local function in_line(text)
  local line, place = parse_line(text)
  if not line or place == '' then return false, 0, '' end
  local front, width = front_of(KEYS[4], line, most)
  for before, member in ipairs(front) do
    if member == text .. ':' .. id then
      if before <= width then return false, 0, '' end
      return string.sub(line, 1, 1), before - 1, bounded(string.match(front[1], '^[^:]*:[^:]*:[^:]*:(.*)$') or '')
    end
  end
  return string.sub(line, 1, 1), #front, bounded(string.match(front[1] or '', '^[^:]*:[^:]*:[^:]*:(.*)$') or '')
end

local kind, before, first = in_line(stored[2])
local reply = {bounded(stored[1]), left(redis.call('ZSCORE', KEYS[1], id)), bounded(note_of(holder)), redis.call('ZCARD', KEYS[3]), 0, -1, 0, kind, before, first}
for p = 1, (#KEYS - 4) / 2 do
  local ready, due = KEYS[2 * p + 3], KEYS[2 * p + 4]
  local score = redis.call('ZSCORE', due, id)
  if score then reply[5], reply[7] = p, left(score) end
  for place, other in ipairs(reply[6] < 0 and redis.call('LRANGE', ready, 0, most - 1) or {}) do
    if other == id and reply[6] < 0 then reply[5], reply[6] = p, place - 1 end
  end
  reply[10 + p] = redis.call('LLEN', ready)
end
return reply
