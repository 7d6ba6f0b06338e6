-- renew: prolongs the leases of running tasks.
-- KEYS  1 meta (hash)   2 leases (zset)   then for each task: bucket (hash)
-- ARGV  1 lease in ms   then for each task: id, lease token
-- Returns one character for each task: "1" prolonged, "0" the lease was lost
allow_when_full(KEYS[1])
local deadline = queue_time(KEYS[1]) + tonumber(ARGV[1])
local kept, replies = {}, {}
for i = 1, (#ARGV - 1) / 2 do
  local id = ARGV[2 * i]
  local _, _, holder = parse_run(redis.call('HGET', KEYS[i + 2], RUN .. id))
  replies[i] = '0'
  if holder == ARGV[2 * i + 1] then
    kept[#kept + 1] = deadline
    kept[#kept + 1] = id
    replies[i] = '1'
  end
end
call_in_chunks('ZADD', KEYS[2], kept)
return table.concat(replies)
