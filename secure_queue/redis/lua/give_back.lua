-- give_back: gives running tasks of one priority back, now or at their time, with the run counted as a try or not.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 ready (list)   5 due (zset)   then for each task: bucket (hash)
-- ARGV  1 tries used up: 1 (a retry, to the end of the queue) or 0 (not really begun, to its front)   then for each task: id, lease token, time in ms (0 now, negative: that long from now, positive: that moment)
-- Returns one character for each task: "1" given back, "0" the lease was lost
local leases, wake, ready, due, used = KEYS[2], KEYS[3], KEYS[4], KEYS[5], tonumber(ARGV[1])
allow_when_full(KEYS[1])
expect('zset', leases, wake, due)
expect('list', ready)
expect_buckets(6, 1)
local now = queue_time(KEYS[1])
local count, replies = (#ARGV - 1) / 3, {}

local function give_back(i)
  local id, token, at = ARGV[3 * i - 1], ARGV[3 * i], tonumber(ARGV[3 * i + 1])
  local bucket = KEYS[i + 5]
  local tries, priority, holder, begun = parse_run(redis.call('HGET', bucket, RUN .. id))
  if holder == token then
    local before = begun == '!!' and used == 0 and begun or ''       -- what this holder had not begun, one before had
    redis.call('HSET', bucket, RUN .. id, math.max(tries - 1 + used, 0) .. before .. ':' .. priority .. ':-' .. token)
    redis.call('ZREM', leases, id)
    if at ~= 0 then
      if at < 0 then at = now - at end
      redis.call('ZADD', due, at, id)
      if used == 1 then tell_if_soon(KEYS[1], wake, now, at) end
    else
      redis.call(used == 1 and 'RPUSH' or 'LPUSH', ready, id)
      wake_up(wake)
    end
  end
  replies[i] = (holder == token or gave_back(holder, token)) and '1' or '0'
end

if used == 1 then
  for i = 1, count do give_back(i) end
else
  for i = count, 1, -1 do give_back(i) end      -- backwards, so that the first one ends up in front
end
return table.concat(replies)
