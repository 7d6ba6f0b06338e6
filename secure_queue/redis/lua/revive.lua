-- revive: puts a dead letter back into the queue, or at the end of its line, under a fresh seal, unless another task of its key counts.
-- KEYS  1 meta (hash)   2 dead (zset)   3 wake (zset)   4 ready (list)   5 results (zset)   6 result (string)   7 handed (hash)   8 lines (zset)   9 unique (hash)   10..73 buckets (hash)
-- ARGV  1 id   2 sealed task   3 digest of the key that is unique ("" for none)   4 what counts as another one of it ("queued", "unfinished" or "")   5 line ("" for none)
-- Returns "revived" | "unknown" | "=<id>" that one of the key counts
local id, sealed, digest, scope, line = unpack(ARGV)
local bucket = KEYS[10 + bucket_of(id)]
local now = queue_time(KEYS[1])
expect('zset', KEYS[3], KEYS[5], KEYS[8])
expect('hash', KEYS[7], unpack(KEYS, 9, 73))
expect('list', KEYS[4])
if not redis.call('ZSCORE', KEYS[2], id) then
  return redis.call('HGET', bucket, id) == sealed and 'revived' or 'unknown'       -- a retry after a lost reply
end
local other = digest ~= '' and take_key(KEYS[9], 10, now, id, digest, scope)
if other then return '=' .. other end
redis.call('HSET', bucket, id, sealed)
redis.call('HDEL', bucket, RUN .. id, DEATH .. id, LINE .. id)
redis.call('DEL', KEYS[6], KEYS[7])       -- its parents are looked at again: they may have been revived too
redis.call('ZREM', KEYS[5], id)
put_back(KEYS[8], KEYS[1], KEYS[3], KEYS[4], now, bucket, id, line)
redis.call('ZREM', KEYS[2], id)
return 'revived'
