-- entries: one page of the ids that stand in a list or an index, and whether the task of each is stored.
-- KEYS  1 a ready list, or the index due, leases, results or dead (zset)   2..65 buckets (hash)
-- ARGV  1 how many to pass over   2 how many at the most   3 longest id that is told whole
-- Returns for each: id, 1 if its task is stored or was aborted while its entry stayed behind, else 0
local first, longest = tonumber(ARGV[1]), tonumber(ARGV[3])
local last = first + tonumber(ARGV[2]) - 1
local kind = redis.call('TYPE', KEYS[1])
local ids = redis.call((kind['ok'] or kind) == 'list' and 'LRANGE' or 'ZRANGE', KEYS[1], first, last)
local reply = {}
for i, id in ipairs(ids) do
  local bucket = KEYS[2 + bucket_of(id)]
  reply[2 * i - 1] = string.sub(id, 1, longest)
  reply[2 * i] = math.max(redis.call('HEXISTS', bucket, id), redis.call('HEXISTS', bucket, GHOST .. id))
end
return reply
