-- deliver: hands ends of parents over to dependents that are stored; one that has all of them, or lacks one for good, is ready.
-- KEYS  1 meta (hash)   2 wake (zset)   then for each priority: ready (list), due (zset)   then for each hand-over: bucket (hash), handed (hash)
-- ARGV  1 number of priorities   2 ms that hand-overs without an expiry are kept   then for each hand-over: id, id of the parent, sealed result (empty: the parent is gone)
-- Returns how many dependents have become ready: those that have all of them, or are told of a parent that is gone
local wake, priorities, keep = KEYS[2], tonumber(ARGV[1]), ARGV[2]
local first = 2 * priorities + 3
allow_when_full(KEYS[1])
expect('zset', wake)
for i = 3, first - 1, 2 do
  expect('list', KEYS[i])
  expect('zset', KEYS[i + 1])
end
expect_buckets(first, 1)
queue_time(KEYS[1])

local function rouse(id)
  for i = 3, first - 1, 2 do
    if redis.call('ZREM', KEYS[i + 1], id) == 1 then
      redis.call('RPUSH', KEYS[i], id)
      return 1
    end
  end
  return 0       -- somebody is looking at it now, and will see what was handed over
end

local roused = 0
for i = 1, (#ARGV - 2) / 3 do
  local id, parent, sealed = unpack(ARGV, 3 * i, 3 * i + 2)
  local bucket, handed = KEYS[first + 2 * i - 2], KEYS[first + 2 * i - 1]
  if redis.call('HEXISTS', bucket, id) == 1 and redis.call('HSET', handed, parent, sealed) == 1 then
    if redis.call('PTTL', handed) == -1 then redis.call('PEXPIRE', handed, keep) end
    local expected = tonumber(redis.call('HGET', handed, '') or '') or 0
    if sealed == '' or redis.call('HLEN', handed) > expected then roused = roused + rouse(id) end
  end
end
if roused > 0 then wake_up(wake) end
return roused
