-- pause: lets workers begin nothing of a kind any more, for some time or until it is resumed.
-- KEYS  1 meta (hash)   2 paused (hash)
-- ARGV  1 largest number of pauses   then for each: what is paused, for how many ms from now (0 without end)
-- Returns "paused" | "full" there are too many already
local paused, fresh = KEYS[2], 0
expect('hash', paused)
local now = queue_time(KEYS[1])
for i = 2, #ARGV, 2 do
  if redis.call('HEXISTS', paused, ARGV[i]) == 0 then fresh = fresh + 1 end
end
if redis.call('HLEN', paused) + fresh > tonumber(ARGV[1]) then return 'full' end
for i = 2, #ARGV, 2 do
  local ms = tonumber(ARGV[i + 1])
  redis.call('HSET', paused, ARGV[i], ms == 0 and 0 or now + ms)
end
return 'paused'
