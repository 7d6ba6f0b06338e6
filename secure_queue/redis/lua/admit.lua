-- admit: gives permits of limits on concurrency to tasks that are about to run, and others a place in the line.
-- KEYS  1 meta (hash)   then for each task: permits (zset), line (zset)
-- ARGV  1 lease in ms   2 ms that a promised permit is kept   then for each task: its name here, lease token, how many permits there are, where those of its rank stand in the line: from, width
-- Returns for each task: {0 admitted, else 1 + how many are before it; then the names of those whose turn it is}
local lease, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
local now = queue_time(KEYS[1])
local reply = {}
for i = 1, (#ARGV - 2) / 5 do
  local permits, line = KEYS[2 * i], KEYS[2 * i + 1]
  local who, token, most = ARGV[5 * i - 2], ARGV[5 * i - 1], tonumber(ARGV[5 * i])
  local holder, answer = who .. ' ' .. token, {0}
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  if not redis.call('ZSCORE', permits, holder) then       -- else a retry after a lost reply
    local admitted = redis.call('ZREM', permits, who) == 1       -- one that was promised to it
    if not admitted then
      line_up_for_limit(line, who, tonumber(ARGV[5 * i + 1]), tonumber(ARGV[5 * i + 2]))
      admitted = promise(permits, line, most, now + kept, answer, who)
    end
    if admitted then
      redis.call('ZREM', line, who)
      redis.call('ZADD', permits, now + lease, holder)
    else
      answer[1] = 1 + redis.call('ZRANK', line, who)
    end
  end
  keep_at_least(permits, math.max(lease, kept))
  keep_at_least(line, LINE_MS)
  reply[i] = answer
end
return reply
