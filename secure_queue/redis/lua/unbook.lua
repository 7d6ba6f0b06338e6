-- unbook: gives starts within limits on rate back that were not used.
-- KEYS  1 meta (hash)   then for each: starts (zset)
-- ARGV  for each: who had it (name and lease token)
-- Returns one character for each: "1" given back, "0" it was not known any more
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
local replies = {}
for i, who in ipairs(ARGV) do replies[i] = redis.call('ZREM', KEYS[i + 1], who) end
return table.concat(replies)
