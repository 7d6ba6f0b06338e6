-- withdraw: takes tasks that will not come any more out of the lines of limits.
-- KEYS  1 meta (hash)   then for each: line (zset), expected (zset)
-- ARGV  for each: its name there
-- Returns one character for each: "1" taken out, "0" it did not stand there
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
queue_time(KEYS[1])
local replies = {}
for i, who in ipairs(ARGV) do
  replies[i] = redis.call('ZREM', KEYS[2 * i], who)
  redis.call('ZREM', KEYS[2 * i + 1], who)
end
return table.concat(replies)
