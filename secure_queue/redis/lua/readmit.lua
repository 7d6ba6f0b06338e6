-- readmit: moves a payload out of the quarantine back into the queue, or to the end of its line, under a fresh seal.
-- KEYS  1 meta (hash)   2 quarantine (stream)   3 wake (zset)   4 ready (list)   5 bucket (hash)   6 result (string)   7 lines (zset)
-- ARGV  1 entry   2 id   3 sealed task   4 line ("" for none)
-- Returns "released" | "known" (a task of that id is stored or has finished; nothing was changed) | "unknown" (there is no such entry)
local entry, id, sealed, line = unpack(ARGV)
local bucket = KEYS[5]
local now = queue_time(KEYS[1])
expect('zset', KEYS[3], KEYS[7])
expect('list', KEYS[4])
expect('stream', KEYS[2])
local found = redis.call('XRANGE', KEYS[2], entry, entry)[1]
local stored = redis.call('HGET', bucket, id)
if not found then return stored == sealed and 'released' or 'unknown' end      -- a retry after a lost reply
if stored or redis.call('EXISTS', KEYS[6]) == 1 then return 'known' end
redis.call('HSET', bucket, id, sealed)
put_back(KEYS[7], KEYS[1], KEYS[3], KEYS[4], now, bucket, id, line)
take_out(KEYS[1], KEYS[2], entry)
return 'released'
