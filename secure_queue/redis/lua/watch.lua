-- watch: reads results that are there, and notes who waits for those that are not.
-- KEYS  1 meta (hash)   then for each task: bucket (hash), result (string)
-- ARGV  1 name of the client   2 largest result in bytes   then for each task: id
-- Returns for each task: the sealed result (after "-" the sealed mark of one that was not kept; of one that is too large the beginning), 0 if it is awaited now, -1 if the task is unknown
local client, limit, replies = ARGV[1], tonumber(ARGV[2]), {}

allow_when_full(KEYS[1])

local function bounded(found)
  return #found > limit and string.sub(found, 1, 64) or found      -- no genuine one is so large
end

local function wait_for(id, bucket, waiters)
  if string.find('\n' .. waiters .. '\n', '\n' .. client .. '\n', 1, true) then return end
  if #waiters + #client >= MAX_WAITERS then waiters = '' end
  redis.call('HSET', bucket, WAITERS .. id, waiters == '' and client or waiters .. '\n' .. client)
end

for i = 1, #ARGV - 2 do
  local id, bucket, result = ARGV[i + 2], KEYS[2 * i], KEYS[2 * i + 1]
  local found = redis.call('GET', result)
  if found and string.sub(found, 1, 1) ~= '-' then
    replies[i] = bounded(found)
  else                                         -- that nothing was kept counts only of a task that is not stored any more
    local stored = redis.call('HMGET', bucket, id, WAITERS .. id, DEATH .. id)
    if stored[3] then
      replies[i] = bounded(stored[3])          -- a dead letter tells its failure even when its result has expired
    elseif stored[1] then
      wait_for(id, bucket, stored[2] or '')
      replies[i] = 0
    else
      replies[i] = found and bounded(found) or -1
    end
  end
end
return replies
