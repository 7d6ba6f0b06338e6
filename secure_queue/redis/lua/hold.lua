-- hold: prolongs permits of running tasks.
-- KEYS  1 meta (hash)   then for each: permits (zset)
-- ARGV  1 lease in ms   2 "1" to take again what is gone, "0" not to   then for each: who holds it
-- Returns one character for each: "1" held, "0" gone
local lease = tonumber(ARGV[1])
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
local now = queue_time(KEYS[1])
local replies = {}
for i = 1, #ARGV - 2 do
  local permits = KEYS[i + 1]
  replies[i] = '0'
  if ARGV[2] == '1' or redis.call('ZSCORE', permits, ARGV[i + 2]) then
    redis.call('ZADD', permits, now + lease, ARGV[i + 2])
    keep_at_least(permits, lease)
    replies[i] = '1'
  end
end
return table.concat(replies)
