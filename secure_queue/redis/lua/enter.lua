-- enter: lets a running task take the only seat of its key, unless another one sits there and still runs.
-- KEYS  1 meta (hash)   2 unique (hash)   3..66 buckets (hash)
-- ARGV  1 id   2 lease token   3 digest of the key
-- Returns "entered" | "lost" (the lease was) | "=<id>" (that one runs)
local id, token, digest = ARGV[1], ARGV[2], ARGV[3]
allow_when_full(KEYS[1])
expect('hash', unpack(KEYS, 2, 66))
queue_time(KEYS[1])

local function holder_of(task_id)
  local _, _, holder = parse_run(redis.call('HGET', KEYS[3 + bucket_of(task_id)], RUN .. task_id))
  return holder
end

if holder_of(id) ~= token then return 'lost' end
local other = string.match(redis.call('HGET', KEYS[2], digest) or '', '^0:0:(.+)$')
if other and other ~= id and is_held(holder_of(other)) then return '=' .. other end
redis.call('HSET', KEYS[2], digest, '0:0:' .. id)
return 'entered'
