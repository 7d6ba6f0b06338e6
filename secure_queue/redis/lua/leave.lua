-- leave: gives permits back and promises those that are free to the first in the line; of these it hands as many as it takes to the caller, and brings the others to the front of the queue.
-- KEYS  1 meta (hash)   2 wake (zset)   3 called (zset)   4 leases (zset)   5 results (zset)   6 paused (hash)   7 unique (hash)   8 what the caller was given last (list)   9..72 buckets (hash)   then for each priority, highest first: ready (list), due (zset)   then for each: permits (zset), line (zset)
-- ARGV  1 ms that a promised permit is kept   2 number of this partition   3 how many priorities   4 how many tasks the caller takes   5 lease in ms   6 token of this call   7 largest payload in bytes   then for each: who holds it (name and lease token; the name alone: a promise that is not taken), how many permits there are
-- Returns {{0, then for each task that the caller has now: id, sealed task, tries, priority, hints as in claim}, then for each: {the names of those in other partitions whose turn it is}}
local ROUNDS = 100       -- of promises to tasks that are not stored any more
local meta, wake, called, leases, results, paused, unique, last = unpack(KEYS, 1, 8)
local kept, here, priorities = tonumber(ARGV[1]), ARGV[2] .. ' ', tonumber(ARGV[3])
local takes, lease, token, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local BUCKETS, PLACES, OPTIONS = 9, 73, 7
local first = PLACES + 2 * priorities
allow_when_full(meta)
expect('zset', unpack(KEYS, first))

local function expect_places()
  expect('zset', wake, called, leases, results)
  expect('hash', paused, unique, unpack(KEYS, BUCKETS, PLACES - 1))
  expect('list', last)
  for key = PLACES, first - 1, 2 do
    expect('list', KEYS[key])
    expect('zset', KEYS[key + 1])
  end
end
for line = first + 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[line]) == 1 then
    expect_places()
    break
  end
end
local now = queue_time(meta)

local given, remembered, bytes = {0}, {token}, 0
if takes > 0 and tell_again(given, limit, results, last, token, BUCKETS) then takes = 0 end

local pauses = takes > 0 and pauses_of(paused, now) or {}
if pauses['*'] then takes = 0 end

-- The place among the keys of the priority of a parked task that the caller may have: nothing of a higher priority is ready,
-- its own is not paused, and no other call has taken its place.
local function may_have(id)
  for key = PLACES, first - 1, 2 do
    if redis.call('ZSCORE', KEYS[key + 1], id) then
      local is_open = not pauses['p:' .. string.match(KEYS[key], '([^:]*)$')]
      return is_open and not redis.call('HGET', unique, REPLACED .. id) and key
    end
    if redis.call('EXISTS', KEYS[key]) == 1 then return false end
  end
  return false
end

local function give(id)
  local place, bucket = takes > 0 and may_have(id), KEYS[BUCKETS + bucket_of(id)]
  if not place then return false end
  local stored = redis.call('HMGET', bucket, id, RUN .. id, DEATH .. id)
  local tries, _, holder, begun = parse_run(stored[2])
  local size = #stored[1]
  if is_held(holder) or size > limit or bytes + size > MAX_REPLY then return false end
  local priority = string.match(KEYS[place], '([^:]*)$')
  local run, try = claimed_by(token, tries, begun, priority)
  redis.call('ZREM', KEYS[place + 1], id)
  redis.call('HSET', bucket, RUN .. id, run)
  redis.call('ZADD', leases, now + lease, id)
  bytes = bytes + tell(given, limit, results, id, stored[1], try, priority, stored[3], begun ~= '')
  remembered[#remembered + 1], takes = id, takes - 1
  return true
end

-- The tasks that are promised a permit now: the ids of those that lie here, and the names of the others. A promise to one that
-- is not stored any more goes to the next.
local function promised(permits, line, most)
  local ids, elsewhere = {}, {}
  for _ = 1, ROUNDS do
    local names, any_gone = {}, false
    promise(permits, line, most, now + kept, names)
    for _, name in ipairs(names) do
      local id = string.sub(name, 1, #here) == here and string.sub(name, #here + 1)
      if not id then
        elsewhere[#elsewhere + 1] = name
      elseif redis.call('HEXISTS', KEYS[BUCKETS + bucket_of(id)], id) == 1 then
        ids[#ids + 1] = id
      else
        any_gone = redis.call('ZREM', permits, name) == 1 or any_gone
      end
    end
    if not any_gone then break end
  end
  return ids, elsewhere
end

local reply, to_the_front = {given}, {}
for i = 1, (#ARGV - OPTIONS) / 2 do
  local permits, line, most = KEYS[first + 2 * i - 2], KEYS[first + 2 * i - 1], tonumber(ARGV[OPTIONS + 2 * i])
  redis.call('ZREM', permits, ARGV[OPTIONS + 2 * i - 1])
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  local ids, elsewhere = promised(permits, line, most)
  for _, id in ipairs(ids) do
    if not give(id) then to_the_front[#to_the_front + 1] = id end
  end
  keep_at_least(permits, kept)
  reply[i + 1] = elsewhere
end
for i = #to_the_front, 1, -1 do bring(called, wake, PLACES, priorities, now, to_the_front[i]) end       -- the first one in front
if #remembered > 1 then remember_claim(last, remembered) end
return reply
