-- staff: who works on a queue.
-- KEYS  1 workers (zset)
-- ARGV  (none)
-- Returns the names of the workers that have shown themselves lately
local MOST_WORKERS, LONGEST_NAME = 1000, 64
local names = {}
for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, MOST_WORKERS - 1)) do
  names[#names + 1] = string.sub(worker, 1, LONGEST_NAME)
end
return names
