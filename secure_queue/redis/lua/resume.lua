-- resume: ends a pause.
-- KEYS  1 meta (hash)   2 paused (hash)   3 wake (zset)   then ready (list) of every priority
-- ARGV  1 what was paused
-- Returns "resumed" | "unknown" it was not paused
expect('hash', KEYS[2])
expect('zset', KEYS[3])
for i = 4, #KEYS do expect('list', KEYS[i]) end
local now = queue_time(KEYS[1])
local until_then = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
for i = 4, #KEYS do
  if redis.call('LLEN', KEYS[i]) > 0 then wake_up(KEYS[3]) end
end
return is_paused(until_then, now) and 'resumed' or 'unknown'
