-- announce: notes that a process lives, with its sealed record.
-- KEYS  1 meta (hash)   2 presence (hash)   3 present (zset)
-- ARGV  1 process   2 sealed record   3 ms until the process counts as gone
-- Returns how many processes are known
local presence, present, ttl = KEYS[2], KEYS[3], tonumber(ARGV[3])
expect('hash', presence)
expect('zset', present)
local now = queue_time(KEYS[1])
redis.call('HSET', presence, ARGV[1], ARGV[2])
redis.call('ZADD', present, now + ttl, ARGV[1])
for _, key in ipairs({presence, present}) do
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end       -- as long as the longest of them
end
return redis.call('ZCARD', present)
