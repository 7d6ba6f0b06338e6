-- deliver: hands ends of parents over to dependents that are stored; one that has all of them, or may be decided by this one, is ready.
-- KEYS  1 meta (hash)   2 wake (zset)   then for each priority: ready (list), due (zset)   then for each hand-over: bucket (hash), handed (hash)
-- ARGV  1 number of priorities   2 ms that hand-overs without an expiry are kept   then for each hand-over: id, id of the parent, sealed result (empty: the parent is gone), "s" if the parent succeeded, "f" if it did not, "" if that is not known
-- Returns how many dependents have become ready
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
for i = 1, (#ARGV - 2) / 4 do
  local id, parent, sealed, ended = unpack(ARGV, 4 * i - 1, 4 * i + 2)
  local bucket, handed = KEYS[first + 2 * i - 2], KEYS[first + 2 * i - 1]
  if redis.call('HEXISTS', bucket, id) == 1 and redis.call('HSET', handed, parent, sealed) == 1 then
    if redis.call('PTTL', handed) == -1 then redis.call('PEXPIRE', handed, keep) end
    local expected, decided_by = string.match(redis.call('HGET', handed, '') or '', '^(%d+)(%a*)$')
    local decides = sealed == '' or (ended ~= '' and string.find(decided_by or '', ended, 1, true))
    if decides or redis.call('HLEN', handed) > (tonumber(expected) or 0) then roused = roused + rouse(id) end
  end
end
if roused > 0 then wake_up(wake) end
return roused
