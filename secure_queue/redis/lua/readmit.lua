-- readmit: moves a payload out of the quarantine back into the queue, under a fresh seal.
-- KEYS  1 meta (hash)   2 quarantine (stream)   3 wake (zset)   4 ready (list)   5 bucket (hash)   6 result (string)
-- ARGV  1 entry   2 id   3 sealed task
-- Returns "released" | "known" (a task of that id is stored or has finished; nothing was changed) | "unknown" (there is no such entry)
local entry, id, sealed, bucket = ARGV[1], ARGV[2], ARGV[3], KEYS[5]
queue_time(KEYS[1])
expect('zset', KEYS[3])
expect('list', KEYS[4])
expect('stream', KEYS[2])
local found = redis.call('XRANGE', KEYS[2], entry, entry)[1]
local stored = redis.call('HGET', bucket, id)
if not found then return stored == sealed and 'released' or 'unknown' end      -- a retry after a lost reply
if stored or redis.call('EXISTS', KEYS[6]) == 1 then return 'known' end
redis.call('HSET', bucket, id, sealed)
redis.call('RPUSH', KEYS[4], id)
take_out(KEYS[1], KEYS[2], entry)
wake_up(KEYS[3])
return 'released'
