-- park: gives claimed tasks of one priority back for some time, with a note why; the try does not count.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 ready (list)   5 due (zset)   6 called (zset)   then for each task: bucket (hash)
-- ARGV  for each task: id, lease token, ms from now, note
-- Returns one character for each task: "1" parked, or ready if its turn has come meanwhile; "0" the lease was lost
local leases, wake, ready, due, called = unpack(KEYS, 2, 6)
allow_when_full(KEYS[1])
expect('zset', leases, wake, due, called)
expect('list', ready)
expect_buckets(7, 1)
local now = queue_time(KEYS[1])
local replies = {}
for i = 1, #ARGV / 4 do
  local id, token, wait, note = ARGV[4 * i - 3], ARGV[4 * i - 2], tonumber(ARGV[4 * i - 1]), ARGV[4 * i]
  local bucket = KEYS[i + 6]
  local tries, priority, holder, begun = parse_run(redis.call('HGET', bucket, RUN .. id))
  if holder == token then
    local is_its_turn = (tonumber(redis.call('ZSCORE', called, id)) or 0) > now
    local before = begun == '!!' and begun or ''
    local run = math.max(tries - 1, 0) .. before .. ':' .. priority .. ':-' .. token .. (is_its_turn and '' or ' ' .. note)
    redis.call('HSET', bucket, RUN .. id, run)
    redis.call('ZREM', leases, id)
    redis.call('ZREM', called, id)
    if is_its_turn then
      redis.call('LPUSH', ready, id)
      wake_up(wake)
    else
      redis.call('ZADD', due, now + wait, id)
    end
  end
  replies[i] = (holder == token or gave_back(holder, token)) and '1' or '0'
end
return table.concat(replies)
