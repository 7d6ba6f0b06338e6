-- handed: reads what some parents have handed over to tasks.
-- KEYS  for each task: handed (hash)
-- ARGV  1 largest value in bytes   then for each task: number of parents, their ids
-- Returns for each task: a count that grows with every hand-over, then for each parent: sealed result (empty: the parent is gone, or it is too large) or false
local limit, reply, at = tonumber(ARGV[1]), {}, 2
for _, handed in ipairs(KEYS) do
  local parents = tonumber(ARGV[at])
  local found = redis.call('HMGET', handed, unpack(ARGV, at + 1, at + parents))
  reply[#reply + 1] = redis.call('HLEN', handed)
  for i = 1, parents do
    local sealed = found[i]
    reply[#reply + 1] = sealed and (#sealed <= limit and sealed or '')
  end
  at = at + parents + 1
end
return reply
