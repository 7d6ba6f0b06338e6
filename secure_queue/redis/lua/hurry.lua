-- hurry: brings parked tasks to the front of the queue, because it is their turn.
-- KEYS  1 meta (hash)   2 wake (zset)   then for each priority: ready (list), due (zset)   then for each task: bucket (hash), parked (string)
-- ARGV  1 how many priorities   then the ids
-- Returns one character for each task: "1" it comes, "0" it is not stored
local CALLED_MS = 5000
local priorities = tonumber(ARGV[1])
allow_when_full(KEYS[1])
expect('zset', KEYS[2])
for p = 1, priorities do
  expect('list', KEYS[2 * p + 1])
  expect('zset', KEYS[2 * p + 2])
end
for i = 2 * priorities + 3, #KEYS, 2 do
  redis.call('HLEN', KEYS[i])
  redis.call('STRLEN', KEYS[i + 1])
end
queue_time(KEYS[1])

local function bring(id, parked)
  for p = 1, priorities do
    if redis.call('ZREM', KEYS[2 * p + 2], id) == 1 then
      redis.call('LPUSH', KEYS[2 * p + 1], id)
      redis.call('DEL', parked)
      wake_up(KEYS[2])
      return
    end
  end
  redis.call('SET', parked, CALLED, 'PX', CALLED_MS)       -- it is being parked just now
end

local replies = {}
for i = #ARGV, 2, -1 do       -- backwards, so that the first one ends up in front
  local bucket, parked = KEYS[2 * priorities + 2 * i - 1], KEYS[2 * priorities + 2 * i]
  local stored = redis.call('HEXISTS', bucket, ARGV[i]) == 1
  if stored then bring(ARGV[i], parked) end
  replies[i - 1] = stored and '1' or '0'
end
return table.concat(replies)
