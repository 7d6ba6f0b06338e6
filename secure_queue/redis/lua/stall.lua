-- stall: lets nothing start within a limit on rate for some time.
-- KEYS  1 meta (hash)   2 expected (zset)
-- ARGV  1 for how many ms from now
-- Returns ms until something may start
allow_when_full(KEYS[1])
expect('zset', KEYS[2])
local now = queue_time(KEYS[1])
local until_then = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('ZSCORE', KEYS[2], '!') or 0))
redis.call('ZADD', KEYS[2], until_then, '!')
keep_at_least(KEYS[2], until_then - now + LINE_MS)
return math.ceil(until_then - now)
