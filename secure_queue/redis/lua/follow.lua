-- follow: notes who depends on tasks, or leaves the ends of those that have ended in the outbox.
-- KEYS  1 meta (hash)   2 outbox (hash)   then for each parent: bucket (hash), result (string)
-- ARGV  1 "1" if dependents are told of a parent that is gone   then for each parent: id, its dependents ("\n" between them)
-- Returns for each parent "waits" | "ended" | "gone" | "full" (nobody was noted: it has too many dependents)
local outbox, tell, replies = KEYS[2], ARGV[1] == '1', {}
expect('hash', outbox)
expect_buckets(3, 2)
queue_time(KEYS[1])

local function note(bucket, id, known, new)
  local seen, list = {}, {}
  for child in string.gmatch(known .. '\n' .. new, '[^\n]+') do
    if not seen[child] then
      seen[child] = true
      list[#list + 1] = child
    end
  end
  local joined = table.concat(list, '\n')
  if #joined > MAX_CHILDREN then return 'full' end
  redis.call('HSET', bucket, CHILDREN .. id, joined)
  return 'waits'
end

-- The end of a task that others depend on may not have been fetched yet, even if its result is not kept.
local function on_its_way(id)
  local entry = redis.call('HGET', outbox, id) or ''
  local zero = string.find(entry, '\0', 1, true)
  return zero and string.sub(entry, zero + 1) or ''
end

for i = 1, (#ARGV - 1) / 2 do
  local id, children, bucket = ARGV[2 * i], ARGV[2 * i + 1], KEYS[2 * i + 1]
  local stored = redis.call('HMGET', bucket, id, CHILDREN .. id, DEATH .. id)
  local result = not stored[1] and redis.call('GET', KEYS[2 * i + 2])
  if stored[3] then
    leave(outbox, id, children, stored[3])
    replies[i] = 'ended'
  elseif stored[1] then
    replies[i] = note(bucket, id, stored[2] or '', children)
  elseif result and string.sub(result, 1, 1) ~= '-' then
    leave(outbox, id, children, result)
    replies[i] = 'ended'
  else
    local sealed = on_its_way(id)
    if sealed ~= '' or tell then leave(outbox, id, children, sealed) end
    replies[i] = sealed ~= '' and 'ended' or 'gone'
  end
end
return replies
