-- outgoing: reads some of the ends that lie in the outbox for dependents, whichever; those that stay do not hide the others.
-- KEYS  1 outbox (hash)
-- ARGV  1 how many   2 most bytes of one reply, unless a single one is larger
-- Returns for each end: its name in the outbox, dependents and sealed result with a zero byte between them
local reply, left = {}, tonumber(ARGV[2])
for _, name in ipairs(redis.call('HRANDFIELD', KEYS[1], ARGV[1]) or {}) do
  local size = redis.call('HSTRLEN', KEYS[1], name)
  if size <= left or #reply == 0 then
    left = left - size
    reply[#reply + 1], reply[#reply + 2] = string.sub(name, 1, MAX_ID), redis.call('HGET', KEYS[1], name)
  end
end
return reply
