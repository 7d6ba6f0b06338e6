-- park: gives claimed tasks of one priority back for some time, with a note why; the try does not count.
-- KEYS  1 meta (hash)   2 leases (zset)   3 wake (zset)   4 ready (list)   5 due (zset)   then for each task: bucket (hash), parked (string)
-- ARGV  for each task: id, lease token, ms from now, note
-- Returns one character for each task: "1" parked, or ready if its turn has come meanwhile; "0" the lease was lost
local NOTE_MS = 60000       -- how long a note stays beyond its time
local leases, wake, ready, due = unpack(KEYS, 2, 5)
allow_when_full(KEYS[1])
expect('zset', leases, wake, due)
expect('list', ready)
for i = 1, #ARGV / 4 do
  redis.call('HLEN', KEYS[2 * i + 4])
  redis.call('STRLEN', KEYS[2 * i + 5])
end
local now = queue_time(KEYS[1])
local replies = {}
for i = 1, #ARGV / 4 do
  local id, token, wait, note = ARGV[4 * i - 3], ARGV[4 * i - 2], tonumber(ARGV[4 * i - 1]), ARGV[4 * i]
  local bucket, parked = KEYS[2 * i + 4], KEYS[2 * i + 5]
  local tries, priority, holder, begun = parse_run(redis.call('HGET', bucket, RUN .. id))
  if holder == token then
    local before = begun == '!!' and begun or ''
    redis.call('HSET', bucket, RUN .. id, math.max(tries - 1, 0) .. before .. ':' .. priority .. ':-' .. token)
    redis.call('ZREM', leases, id)
    if redis.call('GET', parked) == CALLED then
      redis.call('DEL', parked)
      redis.call('LPUSH', ready, id)
      wake_up(wake)
    else
      redis.call('ZADD', due, now + wait, id)
      redis.call('SET', parked, note, 'PX', wait + NOTE_MS)
    end
  end
  replies[i] = (holder == token or holder == '-' .. token) and '1' or '0'
end
return table.concat(replies)
