-- sleep: gives a claimed task back until its parents have ended; the try does not count.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 ready (list)   5 due (zset)   6 bucket (hash)   7 handed (hash)
-- ARGV  1 id   2 lease token   3 ms until it is looked at again   4 count of hand-overs that the caller has seen   5.. parents whose hand-over is not genuine
-- Returns "asleep" (also to a repeated call) | "ready" (more was handed over meanwhile) | "lost"
local leases, wake, ready, due, bucket, handed = unpack(KEYS, 2)
local id, token = ARGV[1], ARGV[2]
allow_when_full(KEYS[1])
expect('zset', leases, wake, due)
expect('list', ready)
expect('hash', bucket, handed)
local now = queue_time(KEYS[1])
local tries, priority, holder = parse_run(redis.call('HGET', bucket, RUN .. id))
if holder == '-' .. token then return 'asleep' end
if holder ~= token then return 'lost' end
local more = redis.call('HLEN', handed) ~= tonumber(ARGV[4])
if #ARGV > 4 then redis.call('HDEL', handed, unpack(ARGV, 5)) end
redis.call('HSET', bucket, RUN .. id, math.max(tries - 1, 0) .. ':' .. priority .. ':-' .. token)
redis.call('ZREM', leases, id)
if more then
  redis.call('RPUSH', ready, id)
  wake_up(wake)
  return 'ready'
end
redis.call('ZADD', due, now + tonumber(ARGV[3]), id)
return 'asleep'
