-- quarantine: moves a payload that did not open out of the way, with the reason; old evidence goes when there is too much.
-- KEYS  1 meta (hash)   2 leases (zset)   3 quarantine (stream)   4 bucket (hash)   5 aborts (hash)   6 lines (zset)   7 wake (zset)   then for each priority: ready (list), highest first
-- ARGV  1 id   2 lease token, empty if none is held   3 reason   4 SHA-256 of the payload if the caller has it   5 most bytes kept of a payload   6 how many entries are kept   7 how many bytes are kept   8 ms that they are kept
-- Returns "moved" | "lost" | "full" (somebody has used up the ids of the stream: it must be moved aside first)
local id, token, quarantine, bucket = ARGV[1], ARGV[2], KEYS[3], KEYS[4]
local most_entries, most_bytes, kept_ms = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
allow_when_full(KEYS[1])
expect('zset', KEYS[2])
expect('hash', KEYS[5])
expect('stream', quarantine)
local now = queue_time(KEYS[1])
local stored = redis.call('HMGET', bucket, id, RUN .. id, LINE .. id)
if stored[3] then expect_lines(KEYS[6], KEYS[7], 8) end
local _, _, holder = parse_run(stored[2])
if token ~= '' and holder ~= token then return 'lost' end
if token == '' and stored[1] then return 'lost' end       -- it was missing, and has come meanwhile

local payload = stored[1] or ''
local fields = {'id', id, 'reason', ARGV[3], 'size', #payload, 'sha256', ARGV[4], 'at', now,
                'payload', string.sub(payload, 1, tonumber(ARGV[5]))}
local added = redis.pcall('XADD', quarantine, '*', unpack(fields))
if added['err'] then return 'full' end
redis.call('HDEL', bucket, id, RUN .. id, WAITERS .. id, DEATH .. id, CHILDREN .. id)
if stored[3] then step_out(KEYS[6], KEYS[7], 8, bucket, id) end
redis.call('ZREM', KEYS[2], id)
redis.call('HDEL', KEYS[5], id)

local entries = redis.call('XLEN', quarantine)
local counted = entries > 1 and tonumber(redis.call('HGET', KEYS[1], 'quarantined') or 0) or 0
if counted ~= counted or counted < 0 or counted > 2 * most_bytes then counted = 0 end       -- not a count of ours
local bytes = counted + weight(fields)
for _ = 1, 100 do
  local oldest = redis.call('XRANGE', quarantine, '-', '+', 'COUNT', 1)[1]
  local age = now - tonumber(string.match(oldest[1], '^%d+'))
  if entries <= 1 or (entries <= most_entries and bytes <= most_bytes and age <= kept_ms) then break end
  redis.call('XDEL', quarantine, oldest[1])
  entries, bytes = entries - 1, bytes - weight(oldest[2])
end
redis.call('HSET', KEYS[1], 'quarantined', math.max(0, bytes))
redis.call('PEXPIRE', quarantine, kept_ms)
return 'moved'
