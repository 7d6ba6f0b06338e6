-- tick: makes due tasks ready, takes back expired leases, trims what has had its time, and notes that a worker lives.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 results (zset)   5 dead (zset)   6 aborts (hash)   7 workers (zset)   8..71 buckets (hash)   then for each priority: ready (list), due (zset)   last: outbox (hash)
-- ARGV  1 worker   2 ms until it counts as gone   3 ms that dead letters are kept   4 how many dead letters are kept   5 a random mark for a dataset that has none   6.. names of the priorities
-- Returns {ms until the next task is due or -1, tasks promoted, leases taken back, mark of the dataset, how much lies in the outbox, then for each abort: id, mark}
local meta, leases, wake, results, dead, aborts, workers = unpack(KEYS, 1, 7)
local BATCH, MAX_MARK = 500, 4096
allow_when_full(meta)
expect('zset', leases, wake, results, dead, workers)
expect('hash', aborts, KEYS[#KEYS], unpack(KEYS, 8, 71))
for p = 6, #ARGV do
  expect('list', KEYS[60 + 2 * p])
  expect('zset', KEYS[61 + 2 * p])
end
local now = queue_time(meta)

local lists = {}
for p = 6, #ARGV do lists[ARGV[p]] = KEYS[60 + 2 * p] end
local default = KEYS[#KEYS - 2]     -- the lowest: where a priority that no worker here knows goes

local promoted, next_due = 0, -1
for p = 6, #ARGV do
  local ready, due = KEYS[60 + 2 * p], KEYS[61 + 2 * p]
  local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, BATCH)
  call_in_chunks('RPUSH', ready, ids)
  call_in_chunks('ZREM', due, ids)
  promoted = promoted + #ids
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
    redis.call('RPUSH', lists[priority] or default, id)
    redis.call('HSET', bucket, RUN .. id, tries .. begun .. ':' .. priority .. ':')
    taken_back = taken_back + 1
  end
end
call_in_chunks('ZREM', leases, expired)
if promoted + taken_back > 0 then wake_up(wake) end

redis.call('ZREMRANGEBYSCORE', results, '-inf', now)
local old = redis.call('ZRANGEBYSCORE', dead, '-inf', now - tonumber(ARGV[3]), 'LIMIT', 0, BATCH)
local surplus = redis.call('ZCARD', dead) - tonumber(ARGV[4])
if surplus > #old then old = redis.call('ZRANGE', dead, 0, math.min(surplus, BATCH) - 1) end
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[8 + bucket_of(id)], id, RUN .. id, DEATH .. id)
end
call_in_chunks('ZREM', dead, old)

redis.call('ZADD', workers, now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now)
redis.call('PEXPIRE', workers, ARGV[2])

redis.call('HSETNX', meta, 'gen', ARGV[5])
local generation = string.sub(redis.call('HGET', meta, 'gen'), 1, 32)
local reply = {next_due, promoted, taken_back, generation, redis.call('HLEN', KEYS[#KEYS])}
-- Marks are told as long as their task is there; what else stands among them is junk, and would hide them some day.
local marks = redis.call('HGETALL', aborts)
for i = 1, #marks, 2 do
  local id, mark = marks[i], marks[i + 1]
  if #id > MAX_ID or #mark > MAX_MARK or redis.call('HEXISTS', KEYS[8 + bucket_of(id)], id) == 0 then
    redis.call('HDEL', aborts, id)
  elseif #reply < 2 * BATCH then
    reply[#reply + 1], reply[#reply + 2] = id, mark
  end
end
return reply
