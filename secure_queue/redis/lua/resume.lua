-- resume: ends a pause, and brings back what was laid aside for it; of very much the rest follows with tick.
-- KEYS  1 meta (hash)   2 paused (hash)   3 wake (zset)   then for each priority: ready (list), shelf (zset)
-- ARGV  1 what was paused
-- Returns "resumed" | "unknown" it was not paused
local paused, wake = KEYS[2], KEYS[3]
expect('hash', paused)
expect('zset', wake)
for i = 4, #KEYS, 2 do
  expect('list', KEYS[i])
  expect('zset', KEYS[i + 1])
end
local now = queue_time(KEYS[1])
local until_then = redis.call('HGET', paused, ARGV[1])
redis.call('HDEL', paused, ARGV[1])
for i = 4, #KEYS, 2 do
  unshelve(KEYS[1], KEYS[i + 1], KEYS[i], wake, mark_of(ARGV[1]))
  if redis.call('LLEN', KEYS[i]) > 0 then wake_up(wake) end
end
return is_paused(until_then, now) and 'resumed' or 'unknown'
