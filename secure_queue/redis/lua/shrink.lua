-- shrink: lowers the number of partitions in the register, unless somebody has changed it meanwhile or ids of one's own need
-- them.
-- KEYS  1 config (hash)
-- ARGV  1 the number that must stand there   2 the lower one
-- Returns 1 if the lower number stands there now, else 0
local config = KEYS[1]
local now = redis.call('HGET', config, 'partitions')
local needed = tonumber(redis.call('HGET', config, 'key_partitions') or '') or 1
if now == ARGV[1] and tonumber(ARGV[2]) >= needed then
  redis.call('HSET', config, 'partitions', ARGV[2])
  now = ARGV[2]
end
return now == ARGV[2] and 1 or 0
