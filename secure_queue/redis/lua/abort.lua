-- abort: ends a waiting task at once with a sealed result, or leaves a mark for the worker that runs it.
-- KEYS  1 meta (hash)   2 leases (zset)   3 results (zset)   4 aborts (hash)   5 dead (zset)   6 bucket (hash)   7 result (string)   8 outbox (hash)   9 lines (zset)   10 wake (zset)   then for each priority: ready (list), due (zset), shelf (zset)
-- ARGV  1 id   2 sealed result   3 lifetime of the result in ms   4 sealed mark
-- Returns "unknown" | "finished" | "running" | "aborted"
local results, aborts, bucket = KEYS[3], KEYS[4], KEYS[6]
local id, sealed, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
allow_when_full(KEYS[1])
expect('zset', results)
local lists = {}
for i = 11, #KEYS, 3 do
  lists[#lists + 1] = KEYS[i]
  expect('zset', KEYS[i + 1], KEYS[i + 2])
end
expect('hash', aborts, KEYS[8])
local now = queue_time(KEYS[1])
local found = redis.call('GET', KEYS[7])
if found == sealed then return 'aborted' end       -- a retry after a lost reply
if found or redis.call('ZSCORE', KEYS[5], id) then return 'finished' end
local stored = redis.call('HMGET', bucket, id, RUN .. id, WAITERS .. id, CHILDREN .. id, LINE .. id)
if not stored[1] then return 'unknown' end
expect('list', unpack(lists))
if stored[5] then expect('zset', KEYS[9], KEYS[10]) end
local _, _, holder = parse_run(stored[2])
if is_held(holder) then
  redis.call('HSET', aborts, id, ARGV[4])
  redis.call('PEXPIRE', aborts, 86400000)
  return 'running'
end
store_result(KEYS[7], sealed, ttl)
add_to_index(results, {now + ttl, id}, ttl)
redis.call('HDEL', bucket, id, RUN .. id, WAITERS .. id, CHILDREN .. id, LINE .. id)
if stored[4] then leave(KEYS[8], id, stored[4], sealed) end
local taken_out, member = 0, shelved_as(holder, id)
for i = 12, #KEYS, 3 do
  taken_out = taken_out + redis.call('ZREM', KEYS[i], id) + (member and redis.call('ZREM', KEYS[i + 1], member) or 0)
end
local was_let_go = leave_line(KEYS[9], KEYS[10], lists, id, stored[5])

-- A walk through a whole list would hold up everybody if it is long: one that lies deeper stays there as a ghost, which the
-- claim that meets it drops.
local NEAR = 10000
local function take_from_lists()
  for _, list in ipairs(lists) do
    for _, side in ipairs({1, -1}) do
      if redis.call('LPOS', list, id, 'RANK', side, 'MAXLEN', NEAR) then return redis.call('LREM', list, side, id) end
    end
  end
  redis.call('HSET', bucket, GHOST .. id, '1')
end
if taken_out == 0 and was_let_go then take_from_lists() end
push_result(KEYS[1], stored[3], id, sealed)
return 'aborted'
