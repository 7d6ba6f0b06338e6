-- bury: ends running tasks that failed for good; the task is kept as a dead letter, its failure also as a result.
-- KEYS  1 meta (hash)   2 leases (zset)   3 results (zset)   4 aborts (hash)   5 dead (zset)   6 outbox (hash)   7 lines (zset)   8 wake (zset)   then for each task: bucket (hash), result (string)   then for each priority: ready (list), highest first
-- ARGV  for each task: id, lease token, lifetime of the result in ms (negative for ever) or the sealed mark of one that is not kept, sealed result
-- Returns one character for each task: "1" buried, "2" buried and left in the outbox for its dependents, "0" the lease was lost
local leases, results, aborts, dead, outbox, lines, wake = unpack(KEYS, 2, 8)
local first_list = 9 + #ARGV / 2
allow_when_full(KEYS[1])
expect('zset', leases, results, dead)
expect('hash', aborts, outbox)
expect_buckets(9, 2, first_list - 1)
local any_lines = expect('zset', lines) > 0
if any_lines then expect_lines(lines, wake, first_list) end
local now = queue_time(KEYS[1])
local replies = {}
for i = 1, #ARGV / 4 do
  local id, token, keep, sealed = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
  local ttl = tonumber(keep)
  local bucket, result = KEYS[2 * i + 7], KEYS[2 * i + 8]
  local stored = redis.call('HMGET', bucket, RUN .. id, WAITERS .. id, DEATH .. id, CHILDREN .. id)
  local tries, level, holder = parse_run(stored[1])
  if holder == token then
    store_result(result, sealed, ttl, keep)
    redis.call('HSET', bucket, DEATH .. id, sealed, RUN .. id, tries .. ':' .. level .. ':')
    redis.call('HDEL', bucket, WAITERS .. id, GHOST .. id)
    push_result(KEYS[1], stored[2], id, sealed)
    redis.call('ZREM', leases, id)
    redis.call('HDEL', aborts, id)
    redis.call('ZADD', dead, now, id)
    if any_lines then step_out(lines, wake, first_list, bucket, id) end
    if ttl then add_to_index(results, {ttl < 0 and '+inf' or now + ttl, id}, ttl) end
    replies[i] = tell_dependents(outbox, bucket, id, stored[4], sealed)
  else
    replies[i] = stored[3] == sealed and '1' or '0'
  end
end
return table.concat(replies)
