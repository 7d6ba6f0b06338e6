-- scan: one step through the fields of a hash, for audits; values that are too large, or do not fit any more, stay behind.
-- KEYS  1 hash
-- ARGV  1 cursor   2 how many fields about   3 largest value in bytes, and most bytes of one reply   4 longest name told whole
-- Returns {next cursor, then for each field: name, size, value or false, 1 if the task that it belongs to stands beside it}
local step = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local limit, longest = tonumber(ARGV[3]), tonumber(ARGV[4])
local reply, left = {step[1]}, limit
for i = 1, #step[2], 2 do
  local name, value = step[2][i], step[2][i + 1]
  local size, owned = #value, 1
  if string.sub(name, 1, 1) == '!' then owned = redis.call('HEXISTS', KEYS[1], string.sub(name, 3)) end
  if size > left then value = false else left = left - size end
  local n = 2 * i
  reply[n], reply[n + 1], reply[n + 2], reply[n + 3] = string.sub(name, 1, longest), size, value, owned
end
return reply
