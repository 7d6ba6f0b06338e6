-- begin: notes that runs really begin; done for the last permitted try only, so that a worker which dies before uses up none.
-- KEYS  1 meta (hash)   then for each task: bucket (hash)
-- ARGV  for each task: id, lease token
-- Returns one character for each task: "1" noted, "0" the lease was lost
allow_when_full(KEYS[1])
expect_buckets(2, 1)
queue_time(KEYS[1])
local replies = {}
for i = 1, #ARGV / 2 do
  local id, token, bucket = ARGV[2 * i - 1], ARGV[2 * i], KEYS[i + 1]
  local tries, priority, holder = parse_run(redis.call('HGET', bucket, RUN .. id))
  replies[i] = '0'
  if holder == token then
    redis.call('HSET', bucket, RUN .. id, tries .. '!:' .. priority .. ':' .. token)
    replies[i] = '1'
  end
end
return table.concat(replies)
