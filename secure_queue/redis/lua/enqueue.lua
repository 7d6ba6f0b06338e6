-- enqueue: stores new tasks of one priority, each to run now or at its time; an id that is known already stays as it is.
-- KEYS  1 meta (hash)   2 wake (zset)   3 ready (list)   4 due (zset)   5 finished (zset)   then for each task: bucket (hash), result (string)
-- ARGV  for each task: id, sealed task, time in ms (0 now, negative: that long from now, positive: that moment)
-- Returns one character for each task: "1" stored (now, or by this very call before), "0" its id is known already
local finished = expect('zset', KEYS[2], KEYS[4], KEYS[5]) > 0 and KEYS[5]
expect('list', KEYS[3])
expect_buckets(6, 2)
local now = queue_time(KEYS[1])
local ready, due, replies, is_new = {}, {}, {}, false
for i = 1, #ARGV / 3 do
  local id, sealed, at = ARGV[3 * i - 2], ARGV[3 * i - 1], tonumber(ARGV[3 * i])
  replies[i], is_new = store_new(finished, KEYS[2 * i + 4], KEYS[2 * i + 5], id, sealed)
  if is_new and at == 0 then
    ready[#ready + 1] = id
  elseif is_new then
    due[#due + 1], due[#due + 2] = at < 0 and now - at or at, id
  end
end
line_up(KEYS[1], KEYS[2], now, KEYS[3], ready, KEYS[4], due)
return table.concat(replies)
