-- retry: gives running tasks of one priority back for another run, now or at its time; the run counts as a try.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 ready (list)   5 due (zset)   then for each task: bucket (hash)
-- ARGV  for each task: id, lease token, time in ms (0 now, negative: that long from now, positive: that moment)
-- Returns one character for each task: "1" given back, "0" the lease was lost
allow_when_full(KEYS[1])
expect('zset', KEYS[2], KEYS[3], KEYS[5])
expect('list', KEYS[4])
expect_buckets(6, 1)
local now = queue_time(KEYS[1])
local replies = {}
for i = 1, #ARGV / 3 do
  local id, token, at = ARGV[3 * i - 2], ARGV[3 * i - 1], tonumber(ARGV[3 * i])
  local bucket = KEYS[i + 5]
  local tries, priority, holder = parse_run(redis.call('HGET', bucket, RUN .. id))
  if holder == token then
    redis.call('HSET', bucket, RUN .. id, tries .. ':' .. priority .. ':-' .. token)
    redis.call('ZREM', KEYS[2], id)
    if at == 0 then
      redis.call('RPUSH', KEYS[4], id)
      wake_up(KEYS[3])
    else
      redis.call('ZADD', KEYS[5], at < 0 and now - at or at, id)
    end
  end
  replies[i] = (holder == token or holder == '-' .. token) and '1' or '0'
end
return table.concat(replies)
