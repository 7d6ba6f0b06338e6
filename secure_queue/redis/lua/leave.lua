-- leave: gives permits back, promises those that are free to the first in the line, and brings those of them that lie here.
-- KEYS  1 meta (hash)   2 wake (zset)   3 called (zset)   4..67 buckets (hash)   then for each priority: ready (list), due (zset)   then for each: permits (zset), line (zset)
-- ARGV  1 ms that a promised permit is kept   2 number of this partition   3 how many priorities   then for each: who holds it (name and lease token; the name alone: a promise that is not taken), how many permits there are
-- Returns for each: {the names of those in other partitions whose turn it is}
local ROUNDS = 100       -- of promises to tasks that are not stored any more
local wake, called = KEYS[2], KEYS[3]
local kept, here, priorities = tonumber(ARGV[1]), ARGV[2] .. ' ', tonumber(ARGV[3])
local first = 68 + 2 * priorities
allow_when_full(KEYS[1])
expect('zset', unpack(KEYS, first))

local function expect_places()
  expect('zset', wake, called)
  expect('hash', unpack(KEYS, 4, 67))
  for key = 68, first - 1, 2 do
    expect('list', KEYS[key])
    expect('zset', KEYS[key + 1])
  end
end
for line = first + 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[line]) == 1 then
    expect_places()
    break
  end
end
local now = queue_time(KEYS[1])

-- The tasks that are promised a permit now: the ids of those that lie here, and the names of the others. A promise to one that
-- is not stored any more goes to the next.
local function promised(permits, line, most)
  local ids, elsewhere = {}, {}
  for _ = 1, ROUNDS do
    local names, any_gone = {}, false
    promise(permits, line, most, now + kept, names)
    for _, name in ipairs(names) do
      local id = string.sub(name, 1, #here) == here and string.sub(name, #here + 1)
      if not id then
        elsewhere[#elsewhere + 1] = name
      elseif redis.call('HEXISTS', KEYS[4 + bucket_of(id)], id) == 1 then
        ids[#ids + 1] = id
      else
        any_gone = redis.call('ZREM', permits, name) == 1 or any_gone
      end
    end
    if not any_gone then break end
  end
  return ids, elsewhere
end

local reply = {}
for i = 1, (#ARGV - 3) / 2 do
  local permits, line, most = KEYS[first + 2 * i - 2], KEYS[first + 2 * i - 1], tonumber(ARGV[2 * i + 3])
  redis.call('ZREM', permits, ARGV[2 * i + 2])
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
  local ids, elsewhere = promised(permits, line, most)
  for place = #ids, 1, -1 do bring(called, wake, 68, priorities, now, ids[place]) end       -- the first one ends up in front
  keep_at_least(permits, kept)
  reply[i] = elsewhere
end
return reply
