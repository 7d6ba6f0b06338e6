-- admit: gives permits of limits on concurrency to tasks that are about to run, and others a place in the line.
-- KEYS  1 meta (hash)   then for each task: permits (zset), line (zset), turns (zset)
-- ARGV  1 lease in ms   2 ms that a promised permit is kept   then for each task: its name here, lease token, how many permits there are, where those of its rank stand in the line: from, width; its key if keys take turns, else ""
-- Returns for each task: {0 admitted, else 1 + how many are before it; then the names of those whose turn it is}
local lease, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
local now = queue_time(KEYS[1])

-- Gives a task of a key a place among those of its rank: in the round after the last one of its key, and at the earliest in the
-- round that is under way. Of what keys have been given before that nothing need be known.
local function take_turn(line, turns, who, from, width, key)
  if redis.call('ZSCORE', line, who) then return end
  local till = string.format('(%.17g', from + width)
  local first = tonumber(redis.call('ZRANGE', line, from, till, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')[2])
  redis.call('ZREMRANGEBYSCORE', turns, from, first and string.format('%.17g', first - 1) or till)
  local of_key = string.format('%.17g ', from) .. key
  local last = tonumber(redis.call('ZSCORE', turns, of_key) or '') or -1
  local place = first or from
  if last >= place and last < from + width then place = math.min(last + 1, from + width - 1) end
  redis.call('ZADD', line, string.format('%.17g', place), who)
  redis.call('ZADD', turns, string.format('%.17g', place), of_key)
  keep_at_least(turns, LINE_MS)
end

local reply, EACH = {}, 6
for i = 1, (#ARGV - 2) / EACH do
  local permits, line, turns = unpack(KEYS, 3 * i - 1, 3 * i + 1)
  local who, token, most, from, width, key = unpack(ARGV, EACH * i - 3, EACH * i + 2)
  most, from, width = tonumber(most), tonumber(from), tonumber(width)
  local holder, answer = who .. ' ' .. token, {0}
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  if not redis.call('ZSCORE', permits, holder) then       -- else a retry after a lost reply
    local admitted = redis.call('ZREM', permits, who) == 1       -- one that was promised to it
    if not admitted then
      if key == '' then line_up_for_limit(line, who, from, width) else take_turn(line, turns, who, from, width, key) end
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
