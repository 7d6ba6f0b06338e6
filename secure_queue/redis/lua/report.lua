-- report: keeps what running tasks say before their end, and tells who waits; only the holder of the lease can.
-- KEYS  1 meta (hash)   then for each report: bucket (hash), partial (hash)
-- ARGV  1 most parts of one run   2 most bytes of them   then for each report: id, lease token, field, sealed report, ms to keep what was said
-- Returns one character for each report: "1" kept, "0" the lease was lost, "2" there is too much already
local most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
expect_buckets(2, 1)
queue_time(KEYS[1])

-- What an earlier run said is dropped, and what came before another first part: the parts of both are not one stream.
local function begin(partial, token, field, sealed)
  local first = field == '0' and redis.call('HGET', partial, '0')
  if redis.call('HGET', partial, 'run') ~= token or (first and first ~= sealed) then
    redis.call('DEL', partial)
    redis.call('HSET', partial, 'run', token, 'bytes', 0)
  end
end

local replies = {}
for i = 1, (#ARGV - 2) / 5 do
  local at = 5 * i - 2
  local id, token, field, sealed, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local bucket, partial = KEYS[2 * i], KEYS[2 * i + 1]
  local stored = redis.call('HMGET', bucket, RUN .. id, WAITERS .. id)
  local _, _, holder = parse_run(stored[1])
  replies[i] = '0'
  if holder == token then
    begin(partial, token, field, sealed)
    local fresh = redis.call('HEXISTS', partial, field) == 0
    local bytes = tonumber(redis.call('HGET', partial, 'bytes') or 0) or 0
    replies[i] = '2'
    if not fresh or field == 'progress' or (tonumber(field) < most and bytes + #sealed <= most_bytes) then
      redis.call('HSET', partial, field, sealed)
      if fresh then redis.call('HINCRBY', partial, 'bytes', #sealed) end
      redis.call('PEXPIRE', partial, ttl)
      push_result(KEYS[1], stored[2], id .. '\1', '')
      replies[i] = '1'
    end
  end
end
return table.concat(replies)
