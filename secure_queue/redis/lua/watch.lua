-- watch: reads results that are there, and notes who waits for those that are not.
-- KEYS  1 meta (hash)   then for each task: bucket (hash), result (string)
-- ARGV  1 channel of the client   then for each task: id
-- Returns for each task: the sealed result (empty if it was not kept), 0 if it is awaited now, -1 if the task is unknown
local MAX_RESULT = 1100000
local channel, replies = ARGV[1], {}
for i = 1, #ARGV - 1 do
  local id, bucket = ARGV[i + 1], KEYS[2 * i]
  local size = redis.call('STRLEN', KEYS[2 * i + 1])
  -- No genuine result is that large; its beginning is refused like the whole.
  local sealed = size <= MAX_RESULT and redis.call('GET', KEYS[2 * i + 1]) or size > MAX_RESULT and redis.call('GETRANGE', KEYS[2 * i + 1], 0, 63)
  if sealed then
    replies[i] = sealed
  else
    local stored = redis.call('HMGET', bucket, id, WAITERS .. id, DEATH .. id)
    if stored[3] then
      replies[i] = stored[3]          -- a dead letter tells its failure even when its result has expired
    elseif stored[1] then
      local waiters = stored[2] or ''
      if not string.find('\n' .. waiters .. '\n', '\n' .. channel .. '\n', 1, true) then
        if #waiters > 8000 then waiters = '' end
        redis.call('HSET', bucket, WAITERS .. id, waiters == '' and channel or waiters .. '\n' .. channel)
      end
      replies[i] = 0
    else
      replies[i] = -1
    end
  end
end
return replies
