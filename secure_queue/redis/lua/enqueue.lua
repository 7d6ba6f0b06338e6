-- enqueue: stores new tasks of one priority, each to run now or at its time; an id that is known already stays as it is.
-- KEYS  1 meta (hash)   2 wake (zset)   3 ready (list)   4 due (zset)   5 finished (zset)   then for each task: bucket (hash), result (string)
-- ARGV  for each task: id, sealed task, time in ms (0 now, negative: that long from now, positive: that moment)
-- Returns one character for each task: "1" stored (now, or by this very call before), "0" its id is known already
local finished = KEYS[5]
expect('zset', KEYS[2], KEYS[4], finished)
expect('list', KEYS[3])
expect_buckets(6, 2)
local now = queue_time(KEYS[1])
local any_finished = redis.call('EXISTS', finished) == 1
local ready, due, replies = {}, {}, {}
for i = 1, #ARGV / 3 do
  local id, sealed, at = ARGV[3 * i - 2], ARGV[3 * i - 1], tonumber(ARGV[3 * i])
  local bucket, result = KEYS[2 * i + 4], KEYS[2 * i + 5]
  -- This very payload again: a retry after a lost reply, so late that the task is done and its result gone.
  local repeated = any_finished and redis.call('ZSCORE', finished, redis.sha1hex(sealed))
  if not repeated and redis.call('EXISTS', result) == 0 and redis.call('HSETNX', bucket, id, sealed) == 1 then
    if at == 0 then
      ready[#ready + 1] = id
    else
      due[#due + 1] = at < 0 and now - at or at
      due[#due + 1] = id
    end
    replies[i] = '1'
  else
    replies[i] = (repeated or redis.call('HGET', bucket, id) == sealed) and '1' or '0'
  end
end
line_up(KEYS[2], KEYS[3], ready, KEYS[4], due)
return table.concat(replies)
