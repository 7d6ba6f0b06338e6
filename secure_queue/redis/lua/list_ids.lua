-- list_ids: one page of the ids that stand in a list or an index.
-- KEYS  1 a ready list, or the index due, leases, results or dead (zset)   with a ready list what follows it: 2 its shelf (zset)   3 lines (zset)
-- ARGV  1 how many to pass over   2 how many at the most   3 with a ready list the name of its priority
-- Returns ids, first to run or oldest first
local first, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local kind = redis.call('TYPE', KEYS[1])
local is_list = (kind['ok'] or kind) == 'list'
local ids = redis.call(is_list and 'LRANGE' or 'ZRANGE', KEYS[1], first, first + count - 1)

-- Adds what members of a zset say of ids, which follow *before* others; those from *start* to *stop* count.
local function add(zset, start, stop, before, pattern)
  local from = start + math.max(first - before, 0)
  local till = math.min(from + count - #ids, stop) - 1
  for _, member in ipairs(from <= till and redis.call('ZRANGE', zset, from, till) or {}) do
    ids[#ids + 1] = string.match(member, pattern) or member
  end
end

if KEYS[2] and #ids < count then
  local shelf, lines, low, high = KEYS[2], KEYS[3], '(w' .. ARGV[3] .. ':', '(w' .. ARGV[3] .. ';'
  local ready, shelved = redis.call('LLEN', KEYS[1]), redis.call('ZCARD', shelf)
  local start, stop = redis.call('ZLEXCOUNT', lines, '-', low), redis.call('ZLEXCOUNT', lines, '-', high)
  add(shelf, 0, shelved, ready, '^%x+:%d+:(.+)$')
  add(lines, start, stop, ready + shelved, '^w[^:]*:%d+:(.+)$')
end
for i, id in ipairs(ids) do ids[i] = string.sub(id, 1, MAX_ID) end
return ids
