-- rehearse: calls every command that the other scripts call, on keys of its own, and tells which of them are denied.
-- KEYS  1 hash   2 list   3 zset   4 string   5 stream   6 string; none of them stays for more than ten seconds
-- ARGV  1 channel to publish to
-- Returns the names of the denied commands
local h, l, z, s, x, t = unpack(KEYS)
local calls = {
  {'TIME'}, {'TYPE', s}, {'EXISTS', s},
  {'SET', s, 'v', 'PX', 10000}, {'GET', s}, {'STRLEN', s}, {'PERSIST', s}, {'PEXPIRE', s, 10000}, {'PTTL', s}, {'RENAME', s, t},
  {'HSET', h, 'a', 1}, {'HSETNX', h, 'b', 1}, {'HINCRBY', h, 'a', 1}, {'HGET', h, 'a'}, {'HMGET', h, 'a', 'b'}, {'HGETALL', h}, {'HEXISTS', h, 'a'},
  {'HLEN', h}, {'HSTRLEN', h, 'a'}, {'HSCAN', h, 0}, {'HRANDFIELD', h, 1}, {'HDEL', h, 'a'},
  {'RPUSH', l, 1}, {'LPUSH', l, 2}, {'LLEN', l}, {'LINDEX', l, 0}, {'LRANGE', l, 0, -1}, {'LTRIM', l, 0, 1}, {'LPOS', l, 1}, {'LREM', l, 1, 1},
  {'ZADD', z, 1, 'a'}, {'ZCARD', z}, {'ZRANGE', z, 0, -1}, {'ZRANGEBYSCORE', z, 0, 1}, {'ZRANGEBYLEX', z, '-', '+'}, {'ZLEXCOUNT', z, '-', '+'}, {'ZSCORE', z, 'a'}, {'ZRANK', z, 'a'}, {'ZREM', z, 'a'},
  {'ZREMRANGEBYSCORE', z, 0, 1},
  {'XADD', x, '1-1', 'a', 1}, {'XLEN', x}, {'XRANGE', x, '-', '+'}, {'XDEL', x, '1-1'},
  {'PUBLISH', ARGV[1], ''},
  {'DEL', h, l, z, s, x, t},
}
local denied = {}
for _, call in ipairs(calls) do
  local reply = redis.pcall(unpack(call))
  local problem = type(reply) == 'table' and reply['err'] or ''
  if string.find(problem, 'permission') or string.find(problem, "can't") then
    denied[#denied + 1] = call[1]
  end
end
for i = 1, 5 do redis.pcall('PEXPIRE', KEYS[i], 10000) end       -- there are some only if DEL is denied
return denied
