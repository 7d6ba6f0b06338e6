-- enter: lets a running task take the only seat of its key, unless another one sits there and still runs.
-- KEYS  1 meta (hash)   2 unique (hash)   3 permits of the seat (zset)   4..67 buckets (hash)
-- ARGV  1 digest of the key   2 id; of a task of another partition: who holds a permit (its name and a word)   3 lease token; of a task of another partition: ""   4 lease in ms of its permit
-- Returns "entered" | "lost" (the lease was) | "=<id>" (that one runs)
local digest, who, token, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local unique, permits = KEYS[2], KEYS[3]
local by_permit = token == ''
allow_when_full(KEYS[1])
expect('hash', unique, unpack(KEYS, 4))
expect('zset', permits)
local now = queue_time(KEYS[1])

local function holder_of(id)
  local _, _, holder = parse_run(redis.call('HGET', KEYS[4 + bucket_of(id)], RUN .. id))
  return holder
end

-- Those of this partition sit here by their leases, all others by permits.
local function somebody_else()
  local id = string.match(redis.call('HGET', unique, digest) or '', '^0:0:(.+)$')
  if id and (by_permit or id ~= who) and is_held(holder_of(id)) then return id end
  if redis.call('EXISTS', permits) == 0 then return nil end
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', permits, now + LONGEST_LEASE_MS, '+inf')
  for _, holder in ipairs(redis.call('ZRANGE', permits, 0, 1)) do
    if holder ~= who then return string.match(holder, '^%d+ (.*) ') or holder end
  end
end

if not by_permit and holder_of(who) ~= token then return 'lost' end
local other = somebody_else()
if other then return '=' .. string.sub(other, 1, MAX_ID) end
if by_permit then
  redis.call('ZADD', permits, now + lease, who)
  keep_at_least(permits, lease)
else
  redis.call('HSET', unique, digest, '0:0:' .. who)
end
return 'entered'
