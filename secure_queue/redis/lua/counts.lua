-- counts: how many tasks stand in each state.
-- KEYS  1 leases (zset)   2 results (zset)   3 dead (zset)   4 quarantine (stream)   5 workers (zset)   6 lines (zset)   then for each priority: ready (list), due (zset), shelf (zset)
-- ARGV  names of the priorities
-- Returns {running, results kept, dead letters, quarantined, workers, then for each priority: ready, due, on the shelf, behind others in lines}
local reply = {
  redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
  redis.call('XLEN', KEYS[4]), redis.call('ZCARD', KEYS[5]),
}
for p, name in ipairs(ARGV) do
  local ready, due, shelf = unpack(KEYS, 3 * p + 4, 3 * p + 6)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = redis.call('LLEN', ready), redis.call('ZCARD', due), redis.call('ZCARD', shelf)
  reply[n + 4] = redis.call('ZLEXCOUNT', KEYS[6], '[w' .. name .. ':', '(w' .. name .. ';')
end
return reply
