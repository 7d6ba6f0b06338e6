-- shelve: lays claimed tasks of one priority aside as long as their name is paused; the try does not count.
-- KEYS  1 meta (hash)   2 leases (zset)   3 paused (hash)   4 shelf (zset)   then for each task: bucket (hash)
-- ARGV  for each task: id, lease token, what is paused
-- Returns one character for each task: "1" laid aside, "2" it is not paused any more and stays with its holder, "0" the lease was lost
local meta, leases, paused, shelf = unpack(KEYS, 1, 4)
allow_when_full(meta)
expect('zset', leases, shelf)
expect('hash', paused)
expect_buckets(5, 1)
local now = queue_time(meta)
local replies = {}
for i = 1, #ARGV / 3 do
  local id, token, what = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local bucket = KEYS[i + 4]
  local tries, priority, holder, begun = parse_run(redis.call('HGET', bucket, RUN .. id))
  replies[i] = gave_back(holder, token) and '1' or '0'
  if holder == token and not is_paused(redis.call('HGET', paused, what), now) then
    replies[i] = '2'
  elseif holder == token then
    local place = mark_of(what) .. ':' .. next_place(meta, now)
    local before = begun == '!!' and begun or ''
    local run = math.max(tries - 1, 0) .. before .. ':' .. priority .. ':-' .. token .. ' shelf ' .. place
    redis.call('HSET', bucket, RUN .. id, run)
    redis.call('ZREM', leases, id)
    redis.call('ZADD', shelf, 0, place .. ':' .. id)
    replies[i] = '1'
  end
end
return table.concat(replies)
