-- list_ids: one page of the ids that stand in a list or an index.
-- KEYS  1 a ready list, or the index due, leases, results or dead (zset)   2 with a ready list its shelf (zset), which follows it
-- ARGV  1 how many to pass over   2 how many at the most
-- Returns ids, first to run or oldest first
local first, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local kind = redis.call('TYPE', KEYS[1])
local ids = redis.call((kind['ok'] or kind) == 'list' and 'LRANGE' or 'ZRANGE', KEYS[1], first, first + count - 1)
if KEYS[2] and #ids < count then
  local from = math.max(first - redis.call('LLEN', KEYS[1]), 0)
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], from, from + count - #ids - 1)) do
    ids[#ids + 1] = string.match(member, '^%x+:%d+:(.+)$') or member
  end
end
for i, id in ipairs(ids) do ids[i] = string.sub(id, 1, MAX_ID) end
return ids
