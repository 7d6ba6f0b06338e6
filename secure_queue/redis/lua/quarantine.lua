-- quarantine: moves a payload that did not open out of the way, with the reason; nothing is thrown away.
-- KEYS  1 meta (hash)   2 leases (zset)   3 quarantine (stream)   4 bucket (hash)   5 aborts (hash)
-- ARGV  1 id   2 lease token, empty if none is held   3 reason   4 how many entries are kept   5 most bytes kept of a payload
-- Returns "moved" | "lost"
local id, token, bucket = ARGV[1], ARGV[2], KEYS[4]
allow_when_full(KEYS[1])
expect('zset', KEYS[2])
expect('hash', KEYS[5])
local now = queue_time(KEYS[1])
local stored = redis.call('HMGET', bucket, id, RUN .. id)
local _, _, holder = parse_run(stored[2])
if token ~= '' and holder ~= token then return 'lost' end
if token == '' and stored[1] then return 'lost' end       -- it was missing, and has come meanwhile
local payload = stored[1] or ''
redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[4], '*', 'id', id, 'reason', ARGV[3], 'size', #payload, 'at', now,
           'payload', string.sub(payload, 1, tonumber(ARGV[5])))
redis.call('HDEL', bucket, id, RUN .. id, WAITERS .. id, DEATH .. id)
redis.call('ZREM', KEYS[2], id)
redis.call('HDEL', KEYS[5], id)
return 'moved'
