-- tick: makes due tasks ready, takes back expired leases, trims what has had its time, and notes that a worker lives.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 results (zset)   5 dead (zset)   6 aborts (hash)   7 workers (zset)   8..71 buckets (hash)   then for each priority: ready (list), due (zset)   then: lines (zset), unique (hash), replaced (hash), finished (zset), outbox (hash), paused (hash)   last for each priority: shelf (zset)
-- ARGV  1 worker   2 ms until it counts as gone   3 ms that dead letters are kept   4 how many dead letters are kept   5 a random mark for a dataset that has none   6.. names of the priorities
-- Returns {ms until the next task is due, or a pause behind which something waits is over, or -1, tasks promoted, leases taken back, mark of the dataset, how much lies in the outbox, {for each task that was replaced: id, what it was given back for}, then for each abort: id, mark}
local meta, leases, wake, results, dead, aborts, workers = unpack(KEYS, 1, 7)
local before_shelves = #KEYS - (#ARGV - 5)
local lines, unique, replaced, finished, outbox, paused = unpack(KEYS, before_shelves - 5, before_shelves)
local BATCH, MAX_MARK, LOOK_MS, LINES, MAX_LINE, ROUNDS = 500, 4096, 1000, 50, 33, 8
allow_when_full(meta)
expect('zset', leases, wake, results, dead, workers, lines, finished, unpack(KEYS, before_shelves + 1))
expect('hash', aborts, unique, replaced, outbox, paused, unpack(KEYS, 8, 71))
for p = 6, #ARGV do
  expect('list', KEYS[60 + 2 * p])
  expect('zset', KEYS[61 + 2 * p])
end
local now = queue_time(meta)

local lists = {}     -- highest first
for p = 6, #ARGV do lists[#lists + 1] = KEYS[60 + 2 * p] end

local dropped = {}
local any_unique = redis.call('EXISTS', unique) == 1

-- Whether a task whose time has come is ready: not if another call has taken its place, nor if it must wait in its line.
local function is_ready(id)
  local bucket = KEYS[8 + bucket_of(id)]
  local text, other = redis.call('HGET', bucket, LINE .. id), any_unique and redis.call('HGET', unique, REPLACED .. id)
  if other then
    local _, _, holder = parse_run(redis.call('HGET', bucket, RUN .. id))
    local note = note_of(holder)
    if note and #id <= MAX_ID then dropped[#dropped + 1], dropped[#dropped + 2] = id, string.sub(note, 1, MAX_MARK) end
    leave_line(lines, wake, lists, id, text)
    drop_replaced(unique, replaced, outbox, bucket, id)
    return false
  end
  local line, place, priority = parse_line(text)
  return not line or place ~= '' or join_line(lines, meta, now, bucket, id, line, priority)
end

local promoted, next_due = 0, -1
for p = 6, #ARGV do
  local ready, due = KEYS[60 + 2 * p], KEYS[61 + 2 * p]
  local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, BATCH)
  local now_ready = {}
  for _, id in ipairs(ids) do
    if is_ready(id) then now_ready[#now_ready + 1] = id end
  end
  call_in_chunks('RPUSH', ready, now_ready)
  call_in_chunks('ZREM', due, ids)
  promoted = promoted + #now_ready
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if first[2] then
    local left = bounded_ms(tonumber(first[2]) - now)
    if next_due < 0 or left < next_due then next_due = left end
  end
end

local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, BATCH)
local taken_back = 0
for _, id in ipairs(expired) do
  local bucket = KEYS[8 + bucket_of(id)]
  local tries, priority, holder, begun = parse_run(redis.call('HGET', bucket, RUN .. id))
  if is_held(holder) then
    redis.call('RPUSH', list_of(lists, priority), id)
    redis.call('HSET', bucket, RUN .. id, tries .. begun .. ':' .. priority .. ':')
    taken_back = taken_back + 1
  end
end
call_in_chunks('ZREM', leases, expired)
if promoted + taken_back > 0 then wake_up(wake) end

-- What lies on a shelf for a pause that is over comes back, also if the pause was lost.
local MOST_PAUSES = 1000
local pauses, over = pauses_of(paused, now)
call_in_chunks('HDEL', paused, over)
local lasting = {}
for what in pairs(pauses) do lasting[mark_of(what)] = true end

-- Shelves and lines are read by the letters of their members, which a server does only where all scores are the same.
local function level(zset)
  for _, range in ipairs({{'-inf', '(0'}, {'(0', '+inf'}}) do
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', zset, range[1], range[2], 'LIMIT', 0, BATCH)) do
      redis.call('ZADD', zset, 0, member)
    end
  end
end

local function look_at_shelf(shelf, list)
  local from = '-'
  level(shelf)
  for _ = 0, MOST_PAUSES do
    local first = redis.call('ZRANGEBYLEX', shelf, from, '+', 'LIMIT', 0, 1)[1]
    if not first then return end
    local mark = string.match(first, '^(%x+):%d+:.')
    if not mark then
      redis.call('ZREM', shelf, first)
    elseif lasting[mark] or unshelve(meta, shelf, list, wake, mark) then
      from = '[' .. mark .. ';'
    end
  end
end
for p, list in ipairs(lists) do
  local shelf = KEYS[before_shelves + p]
  if redis.call('EXISTS', shelf) == 1 then look_at_shelf(shelf, list) end
end

local function has_on_shelf(mark)
  for shelf = before_shelves + 1, #KEYS do
    if redis.call('ZRANGEBYLEX', KEYS[shelf], '[' .. mark .. ':', '(' .. mark .. ';', 'LIMIT', 0, 1)[1] then return true end
  end
  return false
end

local anything_is_ready = redis.call('EXISTS', unpack(lists)) > 0
if #over > 0 and anything_is_ready then wake_up(wake) end
for what, until_then in pairs(pauses) do
  local left = bounded_ms(until_then - now)
  if until_then > 0 and (next_due < 0 or left < next_due) then
    local is_of_task = string.sub(what, 1, 2) == 't:'
    local holds_up = not is_of_task and anything_is_ready
    if holds_up or (is_of_task and has_on_shelf(mark_of(what))) then next_due = left end
  end
end

redis.call('ZREMRANGEBYSCORE', results, '-inf', now)
local old = redis.call('ZRANGEBYSCORE', dead, '-inf', now - tonumber(ARGV[3]), 'LIMIT', 0, BATCH)
local surplus = redis.call('ZCARD', dead) - tonumber(ARGV[4])
if surplus > #old then old = redis.call('ZRANGE', dead, 0, math.min(surplus, BATCH) - 1) end
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[8 + bucket_of(id)], id, RUN .. id, DEATH .. id, LINE .. id)
end
call_in_chunks('ZREM', dead, old)

-- Lines in turn: a task at the front of one that is gone, or lies nowhere, must not close it for ever.
local nothing_is_ready = redis.call('EXISTS', unpack(lists)) == 0
local function is_stuck(id)
  local _, _, holder = parse_run(redis.call('HGET', KEYS[8 + bucket_of(id)], RUN .. id))
  if is_held(holder) or not nothing_is_ready then return false end
  local member = shelved_as(holder, id)
  for p = 6, #ARGV do
    local shelf = KEYS[before_shelves + p - 5]
    if redis.call('ZSCORE', KEYS[61 + 2 * p], id) or (member and redis.call('ZSCORE', shelf, member)) then return false end
  end
  return true
end

local function look_after(line)
  for _, member in ipairs((front_of(lines, line, 0))) do
    local _, priority, id = parse_member(member)
    local text = id and redis.call('HGET', KEYS[8 + bucket_of(id)], LINE .. id)
    if not text or text .. ':' .. id ~= member or redis.call('HEXISTS', KEYS[8 + bucket_of(id)], id) == 0 then
      take_member(lines, wake, lists, line, member)
    elseif is_stuck(id) then
      redis.call('RPUSH', list_of(lists, priority), id)
      wake_up(wake)
    end
  end
end

local function look_after_some(from)
  for _ = 1, LINES do
    local first = redis.call('ZRANGEBYLEX', lines, from == '' and '-' or '[' .. from, '+', 'LIMIT', 0, 1)[1]
    if not first then return '' end
    local line = string.match(first, '^([of]%x+):')
    if line and #line <= MAX_LINE then
      look_after(line)
      from = line .. ';'
    elseif string.sub(first, 1, 1) == 'w' then
      from = 'x'
    else
      redis.call('ZREM', lines, first)
    end
  end
  return from
end

-- What is said of tasks behind in lines, and is not so: the first of it, so that it goes at the latest with what is so.
local function look_after_who_waits()
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', lines, '[w', '(x', 'LIMIT', 0, LINES)) do
    local id = string.match(entry, '^w[^:]*:%d+:(.+)$')
    local text = id and redis.call('HGET', KEYS[8 + bucket_of(id)], LINE .. id)
    local member = text and text .. ':' .. id or ''
    local place, priority = parse_member(member)
    if not place or waits_as(place, priority, id) ~= entry or not redis.call('ZSCORE', lines, member) then
      redis.call('ZREM', lines, entry)
    end
  end
end

-- Some of the unique keys, whichever; more of them while many of them do not count any more.
local function counts(field)
  local entry = redis.call('HGET', unique, field) or ''
  local till, _, id = string.match(entry, '^(%d+):(%d+):(.+)$')
  if string.sub(field, 1, 2) == REPLACED then till, id = '0', string.sub(field, 3) end
  if not id then return false end
  local bucket = KEYS[8 + bucket_of(id)]
  local stored = redis.call('HMGET', bucket, id, DEATH .. id)
  return tonumber(till) > now or (stored[1] and not stored[2])
end

local function sweep_some()
  local fields, stale = redis.call('HRANDFIELD', unique, BATCH) or {}, {}
  for _, field in ipairs(fields) do
    if not counts(field) then stale[#stale + 1] = field end
  end
  call_in_chunks('HDEL', unique, stale)
  return #stale * 4 > #fields
end

-- Once a second, however many workers there are.
local looked, from = string.match(redis.call('HGET', meta, 'looked') or '', '^(%d+):(.*)$')
looked = tonumber(looked or 0)
if redis.call('EXISTS', lines, unique) > 0 and (looked > now or looked + LOOK_MS <= now) then
  level(lines)
  redis.call('HSET', meta, 'looked', string.format('%.0f:', now) .. look_after_some(from or ''))
  look_after_who_waits()
  redis.call('ZREMRANGEBYSCORE', finished, '-inf', now)
  for _ = 1, ROUNDS do
    if not sweep_some() then break end
  end
end

redis.call('ZADD', workers, now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now)
redis.call('PEXPIRE', workers, ARGV[2])

redis.call('HSETNX', meta, 'gen', ARGV[5])
local generation = string.sub(redis.call('HGET', meta, 'gen'), 1, 32)
local reply = {next_due, promoted, taken_back, generation, redis.call('HLEN', outbox), dropped}
-- Marks are told as long as their task is there; what else stands among them is junk, and would hide them some day.
local marks = redis.call('HGETALL', aborts)
for i = 1, #marks, 2 do
  local id, mark = marks[i], marks[i + 1]
  if #id > MAX_ID or #mark > MAX_MARK or redis.call('HEXISTS', KEYS[8 + bucket_of(id)], id) == 0 then
    redis.call('HDEL', aborts, id)
  elseif #reply < 2 * BATCH + 6 then
    reply[#reply + 1], reply[#reply + 2] = id, mark
  end
end
return reply
