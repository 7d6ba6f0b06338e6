-- complete: ends running tasks with a sealed result; only the holder of the lease can.
-- KEYS  1 meta (hash)   2 leases (zset)   3 results (zset)   4 aborts (hash)   5 finished (zset)   6 outbox (hash)   7 lines (zset)   8 wake (zset)   then for each task: bucket (hash), result (string)   then for each priority: ready (list), highest first
-- ARGV  for each task: id, lease token, lifetime of the result in ms (negative for ever) or the sealed mark of one that is not kept, sealed result
-- Returns one character for each task: "1" ended, "2" ended and left in the outbox for its dependents, "0" the lease was lost
local leases, results, finished, outbox, lines, wake = KEYS[2], KEYS[3], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local first_list = 9 + #ARGV / 2
allow_when_full(KEYS[1])
expect('zset', leases, results, finished)
local any_aborts = expect('hash', outbox, KEYS[4]) > 0
expect_buckets(9, 2, first_list - 1)
local any_lines = expect('zset', lines) > 0
if any_lines then expect_lines(lines, wake, first_list) end
local now = queue_time(KEYS[1])

local ended, index, longest, replies = {}, {}, 0, {}
for i = 1, #ARGV / 4 do
  local id, token, keep, sealed = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
  local ttl = tonumber(keep)
  local bucket, result = KEYS[2 * i + 7], KEYS[2 * i + 8]
  local stored = redis.call('HMGET', bucket, RUN .. id, WAITERS .. id, CHILDREN .. id)
  local _, _, holder = parse_run(stored[1])
  if holder == token then
    if ttl and ttl > 0 and ttl < MARK_MS then       -- an enqueue may be repeated when the result is gone
      redis.call('ZREMRANGEBYSCORE', finished, '-inf', now)
      note_finished(finished, now, redis.call('HGET', bucket, id) or '')
    end
    store_result(result, sealed, ttl, keep)
    redis.call('HDEL', bucket, id, RUN .. id, WAITERS .. id, GHOST .. id)
    push_result(KEYS[1], stored[2], id, sealed)
    if any_lines then step_out(lines, wake, first_list, bucket, id) end
    ended[#ended + 1] = id
    if ttl then
      index[#index + 1] = ttl < 0 and '+inf' or now + ttl
      index[#index + 1] = id
      if ttl < 0 or longest < 0 then longest = -1 else longest = math.max(longest, ttl) end
    end
    replies[i] = tell_dependents(outbox, bucket, id, stored[3], sealed)
  else
    -- A repeated call after a lost reply finds its own result, or the mark that it left.
    local found = not stored[1] and redis.pcall('GET', result)
    replies[i] = (found == sealed or found == '-' .. keep) and '1' or '0'
  end
end
call_in_chunks('ZREM', leases, ended)
if any_aborts then call_in_chunks('HDEL', KEYS[4], ended) end
if #index > 0 then add_to_index(results, index, longest) end
return table.concat(replies)
