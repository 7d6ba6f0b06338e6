--- time comes as two strings
local t = redis.call('TIME')
return {type(t[1]), type(t[2]), #t, tonumber(t[1]) * 1000 > 1600000000000}
--- zadd nx xx ch
return {redis.call('ZADD', KEYS[1], 'NX', 5, 'a'), redis.call('ZADD', KEYS[1], 'NX', 6, 'a'),
  redis.call('ZADD', KEYS[1], 'XX', 7, 'a'), redis.call('ZADD', KEYS[1], 'XX', 7, 'b'),
  redis.call('ZADD', KEYS[1], 'XX', 'CH', 8, 'a'), redis.call('ZADD', KEYS[1], 'GT', 'CH', 3, 'a'),
  redis.call('ZADD', KEYS[1], 'LT', 3, 'a'), redis.call('ZADD', KEYS[1], 'INCR', 3, 'a'),
  redis.call('ZADD', KEYS[1], 'NX', 'CH', 3, 'a', 2, 'c'),
  redis.call('ZSCORE', KEYS[1], 'a'), redis.call('ZSCORE', KEYS[1], 'missing')}
--- scores as text
redis.call('ZADD', KEYS[1], 1.5, 'f', 1700000000123, 't', 17000000001234567, 'u', 0.1, 'w', 'inf', 'i', '-inf', 'j')
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
--- zset ranges
redis.call('ZADD', KEYS[1], 1, 'a', 2, 'b', 3, 'c')
return {redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(3', 'LIMIT', 0, 1),
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 1, 5),
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', 0, 0),
  redis.call('ZREVRANGE', KEYS[1], 0, 0), redis.call('ZRANGE', KEYS[1], '-inf', '2', 'BYSCORE'),
  redis.call('ZRANGE', KEYS[1], 1, -1), redis.call('ZCOUNT', KEYS[1], '-inf', 2), redis.call('ZCARD', KEYS[1])}
--- zset pops and removals
redis.call('ZADD', KEYS[1], 1, 'a', 2, 'b', 3, 'c', 4, 'd')
return {redis.call('ZPOPMIN', KEYS[1]), redis.call('ZPOPMIN', KEYS[1], 2), redis.call('ZREM', KEYS[1], 'x', 'd'),
  redis.call('ZPOPMIN', KEYS[1]), redis.call('ZREM', KEYS[1], 'x'), redis.call('EXISTS', KEYS[1])}
--- zset by rank and by member
redis.call('ZADD', KEYS[1], 1, 'a', 2, 'b')
return {redis.call('ZMSCORE', KEYS[1], 'a', 'x', 'b'), redis.call('ZRANK', KEYS[1], 'b'),
  redis.call('ZRANK', KEYS[1], 'q'), redis.call('ZINCRBY', KEYS[1], 2, 'a'),
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, 0), redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '+inf')}
--- equal scores are ordered by bytes
redis.call('ZADD', KEYS[1], 1, 'b', 1, 'a', 1, '\255', 1, '\0', 1, 'B')
return redis.call('ZRANGEBYSCORE', KEYS[1], 1, 1)
--- a score that is no number
return redis.call('ZADD', KEYS[1], 'abc', 'a')
--- lists from both ends
redis.call('RPUSH', KEYS[1], 'a', 'b', 'c', 'd')
redis.call('LTRIM', KEYS[1], 1, -1)
return {redis.call('LRANGE', KEYS[1], 0, -1), redis.call('LPOP', KEYS[1], 2), redis.call('LLEN', KEYS[1]),
  redis.call('LPOP', KEYS[1]), redis.call('LPOP', KEYS[1]), redis.call('EXISTS', KEYS[1])}
--- an empty list pops nothing
return {redis.call('LPOP', KEYS[1]) == false, redis.call('LPOP', KEYS[1], 3) == false, redis.call('RPOP', KEYS[1]),
  redis.call('LRANGE', KEYS[1], 0, -1), redis.call('LLEN', KEYS[1])}
--- pop more than there is
redis.call('RPUSH', KEYS[1], 'a')
return redis.call('LPOP', KEYS[1], 10)
--- trimming all away removes the key
redis.call('RPUSH', KEYS[1], 'a', 'b')
redis.call('LTRIM', KEYS[1], 1, 0)
return redis.call('EXISTS', KEYS[1])
--- list search and moves
redis.call('RPUSH', KEYS[1], 'a', 'b', 'a')
return {redis.call('LREM', KEYS[1], 1, 'a'), redis.call('LPOS', KEYS[1], 'a'), redis.call('LPOS', KEYS[1], 'zz'),
  redis.call('LINDEX', KEYS[1], 9), redis.call('LPUSH', KEYS[1], 'x', 'y'), redis.call('LINSERT', KEYS[1], 'BEFORE', 'a', 'n'),
  redis.call('RPOPLPUSH', KEYS[1], KEYS[2]), redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')}
--- hashes
redis.call('HSET', KEYS[1], 'a', '1', 'b', '\0\255')
return {redis.call('HMGET', KEYS[1], 'a', 'x', 'b'), redis.call('HSETNX', KEYS[1], 'a', '9'),
  redis.call('HSETNX', KEYS[1], 'c', '9'), redis.call('HGETALL', KEYS[1]), redis.call('HDEL', KEYS[1], 'a', 'zz'),
  redis.call('HGET', KEYS[1], 'zz'), redis.call('HLEN', KEYS[1]), redis.call('HEXISTS', KEYS[1], 'b'),
  redis.call('HSTRLEN', KEYS[1], 'b'), redis.call('HINCRBY', KEYS[1], 'n', 5), redis.call('HKEYS', KEYS[1]),
  redis.call('HVALS', KEYS[1]), redis.call('HSET', KEYS[1], 'b', 'new', 'd', 'new')}
--- an empty hash
local all, some = redis.call('HGETALL', KEYS[1]), redis.call('HMGET', KEYS[1], 'a', 'b')
return {#all, next(all) == nil, #some, some[1] == false, redis.call('HGET', KEYS[1], 'a') == false}
--- the last field takes the key along
redis.call('HSET', KEYS[1], 'a', 'b')
redis.call('HDEL', KEYS[1], 'a')
return redis.call('EXISTS', KEYS[1])
--- numbers as arguments
redis.call('HSET', KEYS[1], 'a', 1.5, 'b', 1e15, 'c', 3, 'd', -0.1, 'e', 1700000000123, 'f', 123456789012)
return redis.call('HMGET', KEYS[1], 'a', 'b', 'c', 'd', 'e', 'f')
--- milliseconds and microseconds as arguments
redis.call('SET', KEYS[1], 1700000000123 * 1000 + 1)
return {redis.call('GET', KEYS[1]), tostring(1700000000123), 1700000000123 .. '', string.format('%.0f', 1700000000123 * 1000)}
--- streams
local id = redis.call('XADD', KEYS[1], 'MAXLEN', 2, '1-1', 'f', 'v')
redis.call('XADD', KEYS[1], 'MAXLEN', 2, '1-2', 'f', 'v', 'g', '\255')
redis.call('XADD', KEYS[1], 'MAXLEN', '=', 2, '1-3', 'f', 'v')
return {id, redis.call('XLEN', KEYS[1]), redis.call('XRANGE', KEYS[1], '-', '+'),
  redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1), redis.call('XDEL', KEYS[1], '1-2'),
  redis.call('XTRIM', KEYS[1], 'MAXLEN', 0), redis.call('EXISTS', KEYS[1])}
--- stream ids made by the server
return #redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'f', 'v') > 10
--- scanning a hash in one call
for i = 1, 50 do redis.call('HSET', KEYS[1], 'f' .. i, i) end
local r = redis.call('HSCAN', KEYS[1], '0', 'COUNT', 1000)
return {r[1], #r[2]}
--- scanning a zset in one call
for i = 1, 5 do redis.call('ZADD', KEYS[1], i, 'f' .. i) end
return redis.call('ZSCAN', KEYS[1], 0, 'COUNT', 1000)
--- sets
return {redis.call('SADD', KEYS[1], 'a', 'b', 'a'), redis.call('SREM', KEYS[1], 'a', 'z'),
  redis.call('SISMEMBER', KEYS[1], 'b'), redis.call('SMEMBERS', KEYS[1]), redis.call('SCARD', KEYS[1]),
  redis.call('SPOP', KEYS[1]), redis.call('SPOP', KEYS[1]), redis.call('SMEMBERS', KEYS[1])}
--- counters
return {redis.call('INCR', KEYS[1]), redis.call('INCRBY', KEYS[1], 5), redis.call('DECR', KEYS[1]),
  type(redis.call('INCR', KEYS[1])), redis.call('GET', KEYS[1])}
--- a counter that is no number
redis.call('SET', KEYS[1], 'x')
return redis.call('INCR', KEYS[1])
--- pcall catches a table whose err is a string
redis.call('SET', KEYS[1], 'x')
local r = redis.pcall('LPUSH', KEYS[1], 'a')
return {type(r), type(r.err), string.sub(r.err, 1, 9), string.find(r['err'], 'WRONGTYPE') ~= nil}
--- a caught error can be returned
redis.call('SET', KEYS[1], 'x')
return redis.pcall('LPUSH', KEYS[1], 'a')
--- an error ends the script and what it wrote stays
redis.call('SET', KEYS[1], 'x')
redis.call('LPUSH', KEYS[1], 'a')
redis.call('SET', KEYS[1], 'never')
--- Lua's own pcall catches a string
redis.call('SET', KEYS[1], 'x')
local ok, e = pcall(redis.call, 'LPUSH', KEYS[1], 'a')
local ok2, e2 = pcall(function() return redis.call('LPUSH', KEYS[1], 'a') end)
local ok3, a, b = pcall(function() return 1, 2 end)
return {ok, type(e), string.find(e, 'WRONGTYPE') ~= nil, ok2, type(e2), ok3, a, b}
--- an unknown command
return redis.call('NOSUCH')
--- an unknown command, caught
return type(redis.pcall('NOSUCH').err)
--- too many arguments
return redis.call('GET', KEYS[1], 'extra')
--- too few arguments, caught
return type(redis.pcall('GET').err)
--- nil as an argument
return redis.call('GET', nil)
--- a boolean as an argument
return redis.call('SET', KEYS[1], true)
--- a table as an argument
return redis.call('SET', KEYS[1], {})
--- an error reply
return redis.error_reply('MYCODE and more')
--- a table with err
return {err = 'ERR custom'}
--- a raised error
error('boom')
--- a raised table with err
error({err = 'SOME boom'})
--- a status reply
return redis.status_reply('fine')
--- statuses in a list
return {1, {ok = 'a'}, redis.call('SET', KEYS[1], 'v')}
--- a status as a table
redis.call('SET', KEYS[1], 'v')
local t = redis.call('TYPE', KEYS[1])
return {type(t), t.ok, t['ok'] == 'string', redis.call('TYPE', KEYS[2]).ok}
--- names of types
redis.call('ZADD', KEYS[1], 1, 'v')
redis.call('HSET', KEYS[2], 'a', 'b')
redis.call('RPUSH', KEYS[3], 'a')
redis.call('XADD', KEYS[4], '*', 'a', 'b')
return {redis.call('TYPE', KEYS[1]).ok, redis.call('TYPE', KEYS[2]).ok, redis.call('TYPE', KEYS[3]).ok,
  redis.call('TYPE', KEYS[4]).ok}
--- publish to nobody
return redis.call('PUBLISH', KEYS[1], 'm')
--- nested tables
return {1, {2, {3, {}}}, {}, 'x', {{}, {}}}
--- an empty table
return {}
--- nil ends a table
return {1, 2, nil, 4}
--- nil at the beginning
return {nil, 1}
--- false does not end a table
return {1, false, true, 4}
--- nothing
return nil
--- no return at all
local x = 1
--- false
return false
--- true
return true
--- numbers lose their fraction
return {3.99, -3.99, 1e10, 2 ^ 53, 2 ^ 31, -2 ^ 40}
--- a string keeps it
return '3.99'
--- named fields are dropped
return {1, 2, a = 3}
--- four hundred values at once
local t = {}
for i = 1, 400 do t[i] = 'k' .. i end
redis.call('RPUSH', KEYS[1], unpack(t))
return {redis.call('LLEN', KEYS[1]), redis.call('LINDEX', KEYS[1], 399)}
--- four hundred pairs at once
local t = {}
for i = 1, 400 do
  t[#t + 1] = i
  t[#t + 1] = 'k' .. i
end
redis.call('ZADD', KEYS[1], unpack(t))
return redis.call('ZCARD', KEYS[1])
--- four thousand values at once
local t = {}
for i = 1, 4000 do t[i] = 'k' .. i end
redis.call('RPUSH', KEYS[1], unpack(t))
return #redis.call('LRANGE', KEYS[1], 0, -1)
--- renaming
redis.call('SET', KEYS[1], 'v')
redis.call('RENAME', KEYS[1], KEYS[2])
return {redis.call('EXISTS', KEYS[1]), redis.call('GET', KEYS[2]), redis.call('RENAMENX', KEYS[2], KEYS[1])}
--- renaming what is not there
return redis.call('RENAME', KEYS[1], KEYS[2])
--- expiry
redis.call('SET', KEYS[1], 'v')
return {redis.call('PEXPIRE', KEYS[1], 100000), redis.call('PEXPIRE', KEYS[2], 10), redis.call('PTTL', KEYS[1]) > 99000,
  redis.call('TTL', KEYS[1]), redis.call('PTTL', KEYS[2]), redis.call('PERSIST', KEYS[1]), redis.call('PTTL', KEYS[1])}
--- expiry in the past
redis.call('SET', KEYS[1], 'v')
redis.call('RPUSH', KEYS[2], 'v')
redis.call('RPUSH', KEYS[3], 'v')
return {redis.call('PEXPIREAT', KEYS[1], 1), redis.call('EXISTS', KEYS[1]), redis.call('PEXPIRE', KEYS[2], 0),
  redis.call('EXISTS', KEYS[2]), redis.call('EXPIRE', KEYS[3], -1), redis.call('EXISTS', KEYS[3])}
--- a new list has no old expiry
redis.call('RPUSH', KEYS[1], 'a')
redis.call('EXPIRE', KEYS[1], 100)
redis.call('LPOP', KEYS[1])
redis.call('RPUSH', KEYS[1], 'a')
return redis.call('TTL', KEYS[1])
--- writing into a list keeps its expiry
redis.call('RPUSH', KEYS[1], 'a')
redis.call('EXPIRE', KEYS[1], 100)
redis.call('RPUSH', KEYS[1], 'b')
return redis.call('TTL', KEYS[1])
--- set with options
return {redis.call('SET', KEYS[1], 'v', 'PX', 5000), redis.call('SET', KEYS[1], 'v', 'NX') == false,
  redis.call('SET', KEYS[1], 'w', 'XX', 'PX', 99999), redis.call('PTTL', KEYS[1]) > 90000,
  redis.call('SET', KEYS[1], 'w', 'KEEPTTL'), redis.call('PTTL', KEYS[1]) > 90000, redis.call('SET', KEYS[1], 'w'),
  redis.call('PTTL', KEYS[1]), redis.call('GETSET', KEYS[1], 'z'), redis.call('GETDEL', KEYS[1]), redis.call('GET', KEYS[1])}
--- set for no time
return redis.call('SET', KEYS[1], 'v', 'PX', 0)
--- set for half a millisecond
return redis.call('SET', KEYS[1], 'v', 'PX', 1.5)
--- keys come and go
redis.call('SET', KEYS[1], 'v')
return {redis.call('DEL', KEYS[1], KEYS[2]), redis.call('UNLINK', KEYS[1]), redis.call('EXISTS', KEYS[1], KEYS[1]),
  redis.call('MSET', KEYS[1], 'a', KEYS[2], 'b'), redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]), redis.call('DBSIZE')}
--- copies
redis.call('SET', KEYS[1], 'v')
return {redis.call('COPY', KEYS[1], KEYS[2]), redis.call('COPY', KEYS[3], KEYS[2]), redis.call('GET', KEYS[2])}
--- parts of strings
redis.call('SET', KEYS[1], 'hello')
return {redis.call('STRLEN', KEYS[1]), redis.call('GETRANGE', KEYS[1], 0, 1), redis.call('APPEND', KEYS[1], '!')}
--- tonumber
return {tonumber('0x10'), tonumber('1e3'), tonumber(' 12 '), tonumber('-3'), tonumber('12.9')}
--- tonumber of what is no number
return {tostring(tonumber('')), tostring(tonumber('12abc')), tostring(tonumber('1.5')), tostring(tonumber('inf')),
  tostring(tonumber(false and 1 or nil))}
--- tostring of numbers
return {tostring(0.1), tostring(1e15), tostring(1e14), tostring(3), tostring(2 ^ 53), tostring(123456789012)}
--- binary arguments
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], 1, ARGV[1], 1, ARGV[2])
return {redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1), redis.call('HGET', KEYS[1], ARGV[1])}
--- bytes of binary strings
return {string.byte(ARGV[1], 1, -1)}
--- pieces of binary strings
return {string.sub(ARGV[1], 1, 1), string.sub(ARGV[1], 2, 3), #ARGV[1], string.sub(ARGV[1], -1), ARGV[1] .. '\0' .. ARGV[2],
  ARGV[1] == ARGV[2], ARGV[1] < ARGV[2], string.char(0, 255)}
--- formats
return string.format('%d|%s|%.3f|%05d|%x', 3, 'x', 1.5, 42, 255)
--- patterns
local r = {string.find('abc:def', ':', 1, true)}
for a in string.gmatch('a,b,c', '[^,]+') do r[#r + 1] = a end
return {r, {string.match('k:12', '(%a):(%d+)')}, {string.gsub('hello', 'l', 'L')}}
--- arithmetic
return {math.floor(3.7), math.ceil(3.2), math.max(1, 2), math.min(1, 2), 7 % 3, -7 % 3, math.abs(-3), math.floor(-0.5)}
--- what keys and arguments are
return {#KEYS, #ARGV, KEYS[99] == nil, ARGV[99] == nil, KEYS[1], type(ARGV[3]), ARGV[3]}
--- tables
local t = {'a', 'b'}
table.insert(t, 'c')
table.insert(t, 1, 'z')
table.sort(t, function(a, b) return a > b end)
return {table.concat(t, ','), table.remove(t), #t, unpack(t)}
--- select and ipairs
local n = 0
for _, k in ipairs(KEYS) do n = n + #k end
return {n, select('#', 1, nil, 3), (select(2, 'a', 'b'))}
--- bits
return {bit.band(7, 3), bit.bor(4, 1), bit.bxor(7, 3), bit.bnot(0), bit.lshift(1, 31), bit.rshift(-1, 28),
  bit.band(0xFFFFFFFF, -1), bit.tobit(0xFFFFFFFF), bit.tohex(255)}
--- sha1
return redis.sha1hex('\0x')
--- writing a global
x = 1
return x
--- reading a global that nobody wrote
return undefined_variable
--- reading it behind pcall
return {pcall(function() return undefined_variable end)}
--- the script after one that wrote a global
return 1
--- what is not there for good reasons
return os.time()
--- a blocking command
return redis.call('BLPOP', KEYS[1], 0)
--- a blocking command on a marker
redis.call('ZADD', KEYS[1], 0, '0')
return redis.call('BZPOPMIN', KEYS[1], 0)
--- a script in a script
return redis.call('EVAL', 'return 1', 0)
--- subscribing
return redis.call('SUBSCRIBE', 'x')
--- a syntax error
return return
--- names of commands in any case
return {redis.call('set', KEYS[1], 'v'), redis.call('Get', KEYS[1])}
--- log
redis.log(redis.LOG_DEBUG, 'x')
return redis.LOG_WARNING
--- the key of another type
redis.call('HSET', KEYS[1], 'a', 'b')
return redis.call('ZCARD', KEYS[1])
