-- queueing: who holds a limit, and where somebody stands in the line for it.
-- KEYS  1 permits (zset)   2 starts (zset)   3 line (zset)   4 expected (zset)
-- ARGV  1 name of a task in the line   2 how many holders are told
-- Returns {how many are before it or -1, how many wait, how many hold permits, starts that are remembered, ms until its turn or 0, ms for which nothing starts or 0, then names of holders}
local MOST_TEXT = 400
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function left(score)
  local ms = tonumber(score or 0) or 0
  return ms > now and bounded_ms(math.ceil(ms - now)) or 0
end
local place = redis.call('ZRANK', KEYS[3], ARGV[1])
local holders = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
local reply = {
  place or -1, redis.call('ZCARD', KEYS[3]), redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]),
  left(redis.call('ZSCORE', KEYS[4], ARGV[1])), left(redis.call('ZSCORE', KEYS[4], '!')),
}
for _, holder in ipairs(holders) do reply[#reply + 1] = string.sub(holder, 1, MOST_TEXT) end
return reply
