-- leave: gives permits back, and promises those that are free to the first in the line.
-- KEYS  1 meta (hash)   then for each: permits (zset), line (zset)
-- ARGV  1 ms that a promised permit is kept   then for each: who holds it (name and lease token; the name alone: a promise that is not taken), how many permits there are
-- Returns for each: {the names of those whose turn it is}
local kept = tonumber(ARGV[1])
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
local now = queue_time(KEYS[1])
local reply = {}
for i = 1, (#ARGV - 1) / 2 do
  local permits, line, most = KEYS[2 * i], KEYS[2 * i + 1], tonumber(ARGV[2 * i + 1])
  redis.call('ZREM', permits, ARGV[2 * i])
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  reply[i] = {}
  promise(permits, line, most, now + kept, reply[i])
  keep_at_least(permits, kept)
end
return reply
