-- forget: deletes a dead letter.
-- KEYS  1 meta (hash)   2 dead (zset)   3 bucket (hash)
-- ARGV  1 id
-- Returns "deleted" | "unknown"
local id = ARGV[1]
allow_when_full(KEYS[1])
expect('hash', KEYS[3])
if redis.call('ZREM', KEYS[2], id) == 0 then return 'unknown' end
redis.call('HDEL', KEYS[3], id, RUN .. id, DEATH .. id, LINE .. id)
return 'deleted'
