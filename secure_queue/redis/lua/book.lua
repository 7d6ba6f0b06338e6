-- book: lets tasks start within a limit on rate, or says when it will be their turn.
-- KEYS  1 meta (hash)   then for each task: starts (zset), line (zset), expected (zset)
-- ARGV  for each task: its name here, lease token, how many may start, in how many ms, where those of its rank stand in the line: from, width
-- Returns for each task: 0 it starts, else ms until it is expected
local PATIENCE_MS = 60000       -- who is later than that has lost the place in the line
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, 2))
local now = queue_time(KEYS[1])

local function forget_who_did_not_come(line, expected)
  local late = redis.call('ZRANGEBYSCORE', expected, '-inf', now - PATIENCE_MS, 'LIMIT', 0, 100)
  call_in_chunks('ZREM', line, late)
  call_in_chunks('ZREM', expected, late)
end

-- When the one with so many before it can start, if all of them come: each start makes room for another after *per*.
local function moment(starts, most, per, before)
  local count = redis.call('ZCARD', starts)
  local nth = before % most - (most - count)
  local first = now
  if nth >= 0 then first = tonumber(redis.call('ZRANGE', starts, nth, nth, 'WITHSCORES')[2]) + per end
  return math.max(first, now) + math.floor(before / most) * per
end

local replies = {}
for i = 1, #ARGV / 6 do
  local starts, line, expected = KEYS[3 * i - 1], KEYS[3 * i], KEYS[3 * i + 1]
  local who, token = ARGV[6 * i - 5], ARGV[6 * i - 4]
  local most, per = tonumber(ARGV[6 * i - 3]), tonumber(ARGV[6 * i - 2])
  redis.call('ZREMRANGEBYSCORE', starts, '-inf', now - per)
  forget_who_did_not_come(line, expected)
  redis.call('ZREMRANGEBYSCORE', starts, string.format('(%.0f', now + per), '+inf')       -- nobody starts in the future
  replies[i] = 0
  if not redis.call('ZSCORE', starts, who .. ' ' .. token) then       -- else a retry after a lost reply
    local booked = tonumber(redis.call('ZSCORE', expected, who) or 0)
    local stalled = math.min(tonumber(redis.call('ZSCORE', expected, '!') or 0), now + LINE_MS)
    line_up_for_limit(line, who, tonumber(ARGV[6 * i - 1]), tonumber(ARGV[6 * i]))
    local before = redis.call('ZRANK', line, who)
    local free = stalled <= now and most - redis.call('ZCARD', starts) or 0
    if before < free or (booked > 0 and booked <= now and free > 0) then
      -- One that is in time counts from the moment that it was given: else each round would begin a little later.
      local in_time = booked > 0 and now - booked <= math.min(per / 20, 50)
      redis.call('ZADD', starts, in_time and booked or now, who .. ' ' .. token)
      redis.call('ZREM', line, who)
      redis.call('ZREM', expected, who)
    else
      local at = math.max(moment(starts, most, per, before), stalled, now + 1)
      redis.call('ZADD', expected, at, who)
      replies[i] = math.ceil(at - now)
    end
  end
  keep_at_least(starts, per)
  keep_at_least(line, replies[i] + LINE_MS)
  keep_at_least(expected, replies[i] + LINE_MS)
end
return replies
