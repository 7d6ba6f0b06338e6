-- claim: hands out ready tasks, highest priority first, under a lease; a repeated request gets the same tasks again.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 last claim of this worker (list)   5..68 buckets (hash)   69.. ready (list), highest first   then: lines (zset), unique (hash), replaced (hash), results (zset), paused (hash), outbox (hash)
-- ARGV  1 how many   2 lease in ms   3 token of this claim   4 largest payload in bytes   5 ms for which a task rises by one priority (0: none does)   6.. names of the priorities, highest first
-- Returns {1 if more is ready, then for each task: id, sealed task (or its size if too large, or false), tries, priority, hints: 1 there seems to be a result of it, 2 the try before has really begun}
local meta, leases, wake, last = unpack(KEYS, 1, 4)
local lines, unique, replaced, results, paused, outbox = unpack(KEYS, #KEYS - 5)
local left, lease, token, limit, ageing = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST = 6       -- name of a priority; its list is KEYS[63 + FIRST]
allow_when_full(meta)
expect('zset', leases, wake, results)
local special = redis.call('EXISTS', lines, unique, paused) > 0
local keyed = special and redis.call('EXISTS', lines, unique) > 0       -- else no task has what those with a key have beside them
if keyed then
  expect('zset', lines)
  expect('hash', unique, replaced, outbox)
end

local reply, bytes = {0}, 0
if tell_again(reply, limit, results, last, token, 5) then return reply end

-- All tasks are read before anything but the clock is written: an error in a read then loses nothing.
local now = queue_time(meta)
local is_open, pauses, over = {}, {}, {}
if special then pauses, over = pauses_of(paused, now) end
for p = FIRST, #ARGV do is_open[p] = not (pauses['*'] or pauses['p:' .. ARGV[p]]) end

-- How many to take from each list if waiting lets tasks rise: those first that are oldest, where a priority is worth some
-- age. A list is taken from in its own order whatever stands there. The age counts from when a task was due at first, which
-- stands in clear in its seal: a hint, for this order alone.
local portions = ageing > 0 and left > 0 and function()
  local lists, counts = {}, {}
  local function age_of_next(p)
    local id = lists[p][counts[p] + 1]
    local sealed = id and redis.call('HGET', KEYS[5 + bucket_of(id)], id)
    if not sealed or #sealed < 26 then return id and math.huge end
    local a, b, c, d, e, f, g, h, i, j = string.byte(sealed, 17, 26)
    local due = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f + (((g * 256 + h) * 256 + i) * 256 + j) * 1000
    return math.max(now - due, 0) - (p - FIRST) * ageing
  end
  local age = {}
  for p = FIRST, #ARGV do
    counts[p], lists[p] = 0, is_open[p] and redis.call('LRANGE', KEYS[63 + p], 0, left - 1) or {}
    age[p] = age_of_next(p)
  end
  for _ = 1, left do
    local oldest
    for p = FIRST, #ARGV do
      if age[p] and (not oldest or age[p] > age[oldest]) then oldest = p end
    end
    if not oldest then break end
    counts[oldest] = counts[oldest] + 1
    age[oldest] = age_of_next(oldest)
  end
  return counts
end
local portion = portions and portions()

local taken, emptied, seen, runs, held, ghosts, out, dropped = {}, {}, {}, {}, {}, {}, {}, {}

-- What a task with a key has beside it: its line, of which one that gives every key its turn is left now, and whether
-- another call has taken its place.
local look_at_key = keyed and function(id)
  local line = redis.call('HGET', KEYS[5 + bucket_of(id)], LINE .. id)
  local other = redis.call('HGET', unique, REPLACED .. id)
  if line and (other or string.sub(line, 1, 1) == 'f') then out[#out + 1] = {id, line} end
  if other then dropped[#dropped + 1] = id end
  return other
end

for p = FIRST, #ARGV do
  local ready = KEYS[63 + p]
  local most = is_open[p] and math.min(left, portion and portion[p] or left) or 0
  local ids = most > 0 and redis.call('LRANGE', ready, 0, most - 1) or {}
  for place, id in ipairs(ids) do
    if bytes >= MAX_REPLY then
      left, taken[p] = 0, place - 1
      break
    end
    if not seen[id] then
      seen[id] = true
      local stored = redis.call('HMGET', KEYS[5 + bucket_of(id)], id, RUN .. id, DEATH .. id)
      local tries, _, holder, begun = parse_run(stored[2])
      if #id > MAX_ID then
        tell(reply, limit, results, id, false, 0, ARGV[p])
      elseif not stored[1] and redis.call('HEXISTS', KEYS[5 + bucket_of(id)], GHOST .. id) == 1 then
        ghosts[#ghosts + 1] = id
      elseif not stored[1] then
        tell(reply, limit, results, id, false, 0, ARGV[p])
      elseif is_held(holder) then
        held[#held + 1] = id
      elseif not (keyed and look_at_key(id)) then
        local run, try = claimed_by(token, tries, begun, ARGV[p])
        bytes = bytes + tell(reply, limit, results, id, stored[1], try, ARGV[p], stored[3], begun ~= '')
        runs[#runs + 1] = {id, run}
      end
    end
  end
  emptied[p] = not taken[p] and #ids < most
  taken[p] = taken[p] or #ids
  left = math.max(0, left - #ids)
end

call_in_chunks('HDEL', paused, over)
for p = FIRST, #ARGV do
  if taken[p] > 0 then redis.call('LTRIM', KEYS[63 + p], taken[p], -1) end
end
for _, one in ipairs(out) do
  leave_line(lines, wake, {unpack(KEYS, 69, #KEYS - 6)}, one[1], one[2])
  redis.call('HDEL', KEYS[5 + bucket_of(one[1])], LINE .. one[1])
end
for _, id in ipairs(dropped) do
  drop_replaced(unique, replaced, outbox, KEYS[5 + bucket_of(id)], id)
end
for p = FIRST, #ARGV do
  local ready = KEYS[63 + p]
  local may_have_more = is_open[p] and not (emptied[p] and #out == 0)       -- who leaves a line lets another one in
  if reply[1] == 0 and may_have_more and redis.call('EXISTS', ready) == 1 then reply[1] = 1 end
end
local deadlines, remembered = {}, {token}
for index, run in ipairs(runs) do
  redis.call('HSET', KEYS[5 + bucket_of(run[1])], RUN .. run[1], run[2])
  deadlines[2 * index - 1], deadlines[2 * index] = now + lease, run[1]
  remembered[index + 1] = run[1]
end
call_in_chunks('ZADD', leases, deadlines)
-- A second entry of a running task is dropped; should nobody really run it, the lease made here brings it back.
for _, id in ipairs(held) do redis.call('ZADD', leases, 'NX', now + lease, id) end
for _, id in ipairs(ghosts) do redis.call('HDEL', KEYS[5 + bucket_of(id)], GHOST .. id) end
-- A claim of nothing asks what a token has claimed; from then on the token claims nothing any more.
if #runs > 0 or tonumber(ARGV[1]) == 0 then
  remember_claim(last, remembered)
end
if reply[1] == 1 then wake_up(wake) else nothing_is_ready(wake) end
return reply
