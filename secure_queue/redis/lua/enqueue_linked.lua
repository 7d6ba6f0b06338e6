-- enqueue_linked: stores new tasks of a workflow; those with parents wait among the due ones until they are told, or looked at.
-- KEYS  1 meta (hash)   2 wake (zset)   3 ready (list)   4 due (zset)   5 finished (zset)   then for each task: bucket (hash), result (string), handed (hash)
-- ARGV  for each task: id, sealed task, time in ms (0 now, negative: that long from now, positive: that moment), number of parents and which of their ends may decide alone (letters as deliver has them), its dependents, ms that hand-overs are kept, ms until it is looked at
-- Returns one character for each task: "1" stored (now, or by this very call before), "0" its id is known already
local finished = KEYS[5]
expect('zset', KEYS[2], KEYS[4], finished)
expect('list', KEYS[3])
expect_buckets(6, 3)
expect_buckets(8, 3)
local now = queue_time(KEYS[1])
local ready, due, replies, is_new = {}, {}, {}, false
for i = 1, #ARGV / 7 do
  local id, sealed, at, parents, children, keep, look = unpack(ARGV, 7 * i - 6, 7 * i)
  local bucket, result, handed = unpack(KEYS, 3 * i + 3, 3 * i + 5)
  at = tonumber(at)
  replies[i], is_new = store_new(finished, bucket, result, id, sealed)
  if is_new then
    if children ~= '' then redis.call('HSET', bucket, CHILDREN .. id, children) end
    if tonumber(string.match(parents, '^%d+')) > 0 then
      redis.call('HSET', handed, '', parents)
      redis.call('PEXPIRE', handed, keep)
      due[#due + 1], due[#due + 2] = now + look, id
    elseif at == 0 then
      ready[#ready + 1] = id
    else
      due[#due + 1], due[#due + 2] = at < 0 and now - at or at, id
    end
  end
end
line_up(KEYS[1], KEYS[2], now, KEYS[3], ready, KEYS[4], due)
return table.concat(replies)
