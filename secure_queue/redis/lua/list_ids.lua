-- list_ids: one page of the ids that stand in a list or an index.
-- KEYS  1 a ready list, or the index due, leases, results or dead (zset)
-- ARGV  1 how many to pass over   2 how many at the most
-- Returns ids, first to run or oldest first
local first = tonumber(ARGV[1])
local last = first + tonumber(ARGV[2]) - 1
local kind = redis.call('TYPE', KEYS[1])
local ids = redis.call((kind['ok'] or kind) == 'list' and 'LRANGE' or 'ZRANGE', KEYS[1], first, last)
for i, id in ipairs(ids) do ids[i] = string.sub(id, 1, MAX_ID) end
return ids
