-- counts: how many tasks stand in each state.
-- KEYS  1 leases (zset)   2 results (zset)   3 dead (zset)   4 quarantine (stream)   5 workers (zset)   then for each priority: ready (list), due (zset)
-- ARGV  none
-- Returns {running, results kept, dead letters, quarantined, workers, then for each priority: ready, due}
local reply = {
  redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
  redis.call('XLEN', KEYS[4]), redis.call('ZCARD', KEYS[5]),
}
for i = 6, #KEYS, 2 do
  reply[i] = redis.call('LLEN', KEYS[i])
  reply[i + 1] = redis.call('ZCARD', KEYS[i + 1])
end
return reply
