-- forget_handed: deletes what was handed over to tasks that have ended; that of dead letters stays until it expires.
-- KEYS  1 meta (hash)   then for each task: bucket (hash), handed (hash)
-- ARGV  for each task: id
-- Returns one character for each task: "1" it has ended, "0" it goes on
allow_when_full(KEYS[1])
expect_buckets(2, 1)
local replies = {}
for i, id in ipairs(ARGV) do
  local stored = redis.call('HMGET', KEYS[2 * i], id, DEATH .. id)
  if not stored[1] then redis.call('DEL', KEYS[2 * i + 1]) end
  replies[i] = (stored[1] and not stored[2]) and '0' or '1'
end
return table.concat(replies)
