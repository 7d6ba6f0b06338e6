-- counts: how many tasks stand in each state.
-- KEYS  1 leases (zset)   2 results (zset)   3 dead (zset)   4 quarantine (stream)   5 workers (zset)   6 lines (zset)   then for each priority: ready (list), due (zset), shelf (zset)
-- ARGV  none
-- Returns {running, results kept, dead letters, quarantined, workers, in lines, then for each priority: ready, due, on the shelf}
local reply = {
  redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
  redis.call('XLEN', KEYS[4]), redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[6]),
}
for i = 7, #KEYS, 3 do
  reply[i] = redis.call('LLEN', KEYS[i])
  reply[i + 1], reply[i + 2] = redis.call('ZCARD', KEYS[i + 1]), redis.call('ZCARD', KEYS[i + 2])
end
return reply
