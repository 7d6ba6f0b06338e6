-- whose: reads what tells which enqueue of an id is stored: the task, or what it has left behind.
-- KEYS  1 bucket (hash)   2 result (string)
-- ARGV  1 id   2 largest value in bytes
-- Returns {sealed task or its size or false, sealed result or its size or false}
local limit = tonumber(ARGV[2])
local function bounded(value)
  return value and #value > limit and #value or value
end
return {bounded(redis.call('HGET', KEYS[1], ARGV[1])), bounded(redis.call('GET', KEYS[2]))}
