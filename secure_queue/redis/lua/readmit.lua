-- readmit: moves a payload out of the quarantine back into the queue, or to the end of its line, under a fresh seal, unless another task of its key counts.
-- KEYS  1 meta (hash)   2 quarantine (stream)   3 wake (zset)   4 ready (list)   5 result (string)   6 lines (zset)   7 unique (hash)   8..71 buckets (hash)
-- ARGV  1 entry   2 id   3 sealed task   4 digest of the key that is unique ("" for none)   5 what counts as another one of it ("queued", "unfinished" or "")   6 line ("" for none)
-- Returns "released" | "known" (a task of that id is stored or has finished; nothing was changed) | "unknown" (there is no such entry) | "=<id>" that one of the key counts
local entry, id, sealed, digest, scope, line = unpack(ARGV)
local bucket = KEYS[8 + bucket_of(id)]
local now = queue_time(KEYS[1])
expect('zset', KEYS[3], KEYS[6])
expect('list', KEYS[4])
expect('stream', KEYS[2])
expect('hash', unpack(KEYS, 7))
local found = redis.call('XRANGE', KEYS[2], entry, entry)[1]
local stored = redis.call('HGET', bucket, id)
if not found then return stored == sealed and 'released' or 'unknown' end      -- a retry after a lost reply
if stored or redis.call('EXISTS', KEYS[5]) == 1 then return 'known' end
local other = digest ~= '' and take_key(KEYS[7], 8, now, id, digest, scope)
if other then return '=' .. other end
redis.call('HSET', bucket, id, sealed)
put_back(KEYS[6], KEYS[1], KEYS[3], KEYS[4], now, bucket, id, line)
take_out(KEYS[1], KEYS[2], entry)
return 'released'
