-- forget_gone: forgets the processes that have not been heard of for long; workers do it, for a producer may delete nothing.
-- KEYS  1 presence (hash)   2 present (zset)
-- ARGV  none
-- Returns how many were forgotten
expect('hash', KEYS[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', redis.call('TIME')[1] * 1000 - 1000, 'LIMIT', 0, 500)
call_in_chunks('HDEL', KEYS[1], gone)
call_in_chunks('ZREM', KEYS[2], gone)
return #gone
