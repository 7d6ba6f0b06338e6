-- hurry: brings parked tasks to the front of the queue, because it is their turn.
-- KEYS  1 meta (hash)   2 wake (zset)   3 called (zset)   then for each priority: ready (list), due (zset)   then for each task: bucket (hash)
-- ARGV  1 how many priorities   then the ids
-- Returns one character for each task: "1" it comes, "0" it is not stored
local wake, called, priorities = KEYS[2], KEYS[3], tonumber(ARGV[1])
allow_when_full(KEYS[1])
expect('zset', wake, called)
for key = 4, 2 * priorities + 3, 2 do
  expect('list', KEYS[key])
  expect('zset', KEYS[key + 1])
end
expect_buckets(2 * priorities + 4, 1)
local now = queue_time(KEYS[1])
local replies = {}
for i = #ARGV, 2, -1 do       -- backwards, so that the first one ends up in front
  local stored = redis.call('HEXISTS', KEYS[2 * priorities + 2 + i], ARGV[i]) == 1
  if stored then bring(called, wake, 4, priorities, now, ARGV[i]) end
  replies[i - 1] = stored and '1' or '0'
end
return table.concat(replies)
