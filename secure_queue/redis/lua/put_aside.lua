-- put_aside: the next entries of the quarantine, for audits; no more of them than fit into one reply.
-- KEYS  1 quarantine (stream)
-- ARGV  1 where to begin   2 how many at the most   3 largest payload in bytes, and most bytes of one reply   4 longest text told whole
-- Returns {where this page ends, then for each entry: id, reason, size as noted, payload or its size, name of the entry}
local limit, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
local reply, left = {''}, limit
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local found = {id = '', reason = '', size = '', payload = ''}
  for i = 1, #entry[2], 2 do
    if found[entry[2][i]] then found[entry[2][i]] = entry[2][i + 1] end
  end
  local payload, n = found.payload, #reply
  if #payload <= limit and #payload > left then break end
  if #payload > limit then payload = #payload else left = left - #payload end
  reply[1] = entry[1]
  reply[n + 1], reply[n + 2] = string.sub(found.id, 1, longest), string.sub(found.reason, 1, longest)
  reply[n + 3], reply[n + 4], reply[n + 5] = string.sub(found.size, 1, longest), payload, entry[1]
end
return reply
