-- revive: puts a dead letter back into the queue under a fresh seal.
-- KEYS  1 meta (hash)   2 dead (zset)   3 wake (zset)   4 ready (list)   5 results (zset)   6 bucket (hash)   7 result (string)   8 handed (hash)   9 lines (zset)
-- ARGV  1 id   2 sealed task
-- Returns "revived" | "unknown"
local id = ARGV[1]
local now = queue_time(KEYS[1])
expect('zset', KEYS[3], KEYS[5], KEYS[9])
expect('hash', KEYS[8])
expect('list', KEYS[4])
if not redis.call('ZSCORE', KEYS[2], id) then
  return redis.call('HGET', KEYS[6], id) == ARGV[2] and 'revived' or 'unknown'       -- a retry after a lost reply
end
redis.call('HSET', KEYS[6], id, ARGV[2])
redis.call('HDEL', KEYS[6], RUN .. id, DEATH .. id)
redis.call('DEL', KEYS[7], KEYS[8])       -- its parents are looked at again: they may have been revived too
redis.call('ZREM', KEYS[5], id)
local line = parse_line(redis.call('HGET', KEYS[6], LINE .. id))
if not line or join_line(KEYS[9], KEYS[1], now, KEYS[6], id, line, string.match(KEYS[4], '([^:]*)$')) then
  redis.call('RPUSH', KEYS[4], id)
end
redis.call('ZREM', KEYS[2], id)
wake_up(KEYS[3])
return 'revived'
