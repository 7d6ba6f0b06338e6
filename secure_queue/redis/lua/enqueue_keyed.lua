-- enqueue_keyed: stores new tasks that have a key: once as long as another of the key counts, in the place of one that waits, or in the line of the key.
-- KEYS  1 meta (hash)   2 wake (zset)   3 finished (zset)   4 unique (hash)   5 lines (zset)   6..69 buckets (hash)   then for each priority: ready (list), due (zset)   then for each task: result (string)
-- ARGV  for each task: id, sealed task, time in ms (0 now, negative: that long from now, positive: that moment), number of its priority, digest of the key that is unique ("" for none), what counts as another ("queued", "unfinished" or ""; "again": it was accepted before, and nothing does), ms that it counts in any case, 1 to take the place of one that waits, ms that calls may put each other off (0 without end), line ("" for none)
-- Returns for each task: "1" stored (now, or by this very call before), "0" its id is known already, "=<id>" that one of the key counts
local meta, wake, finished, unique, lines = unpack(KEYS, 1, 5)
local EACH = 10
local tasks = #ARGV / EACH
local priorities = (#KEYS - tasks - 69) / 2
expect('zset', wake, finished, lines)
expect('hash', unique, unpack(KEYS, 6, 69))
for p = 1, priorities do
  expect('list', KEYS[68 + 2 * p])
  expect('zset', KEYS[69 + 2 * p])
end
local now = queue_time(meta)
local results = 69 + 2 * priorities

-- Has the next worker that meets a waiting task drop it; this caller can delete nothing.
local function replace(id, other, sealed)
  redis.call('HSET', unique, REPLACED .. id, other)
  note_finished(finished, now, sealed)
  for p = 1, priorities do
    if redis.call('ZSCORE', KEYS[69 + 2 * p], id) then redis.call('ZADD', KEYS[69 + 2 * p], 0, id) end
  end
end

-- What was accepted before the server forgot it is stored whatever has happened since; it counts if no other does.
local function count_again(id, digest, window)
  local holder = holder_of_key(unique, 6, digest)
  if holder and (holder.alive or holder.till > now) then return end
  redis.call('HSET', unique, digest, string.format('%.0f:%.0f:', window > 0 and now + window or 0, now) .. id)
end

-- When the task runs; nil, and the id of who stands in its way, if it does not.
local function admit(id, at, digest, scope, window, replaces, patience)
  local since = now
  if scope == 'again' then
    if digest ~= '' then count_again(id, digest, window) end
  elseif digest ~= '' then
    local holder = holder_of_key(unique, 6, digest)
    if holder and replaces and holder.waits then
      replace(holder.id, id, holder.sealed)
      since = holder.since
    elseif holder and stands_in_the_way(holder, scope, now) then
      return nil, holder.id
    end
    redis.call('HSET', unique, digest, string.format('%.0f:%.0f:', window > 0 and now + window or 0, since) .. id)
  end
  if at < 0 then at = now - at end
  if patience > 0 then at = math.max(math.min(at, since + patience), now) end
  return at
end

local function store(id, sealed, moment, priority, line)
  local bucket, list, due = KEYS[6 + bucket_of(id)], KEYS[68 + 2 * priority], KEYS[69 + 2 * priority]
  local name = string.match(list, '([^:]*)$')
  redis.call('HSET', bucket, id, sealed)
  if moment > 0 then
    if line ~= '' then redis.call('HSET', bucket, LINE .. id, line .. '::' .. name) end
    redis.call('ZADD', due, moment, id)
    tell_if_soon(meta, wake, now, moment)
  elseif line == '' or join_line(lines, meta, now, bucket, id, line, name) then
    redis.call('RPUSH', list, id)
    wake_up(wake)
  end
end

local replies = {}
for i = 1, tasks do
  local first = EACH * (i - 1) + 1
  local id, sealed, at, priority, digest, scope, window, replaces, patience, line = unpack(ARGV, first, first + EACH - 1)
  local stored = redis.call('HGET', KEYS[6 + bucket_of(id)], id)
  if stored == sealed or redis.call('ZSCORE', finished, redis.sha1hex(sealed)) then
    replies[i] = '1'
  elseif stored or redis.call('EXISTS', KEYS[results + i]) == 1 then
    replies[i] = '0'
  else
    local moment, other = admit(id, tonumber(at), digest, scope, tonumber(window), replaces == '1', tonumber(patience))
    if moment then store(id, sealed, moment, tonumber(priority), line) end
    replies[i] = moment and '1' or '=' .. other
  end
end
return replies
