-- survey: tells what kind of thing each key holds, and reads those strings that fit into one reply.
-- KEYS  any keys of the queue
-- ARGV  1 most bytes of one reply
-- Returns for each key: type ("none" if there is no such key), ms until it expires or -1, size in bytes of a string or 0, string or false
local reply, left = {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key)
  kind = kind['ok'] or kind
  local size, value = 0, false
  if kind == 'string' then
    size = redis.call('STRLEN', key)
    if size <= left then
      left = left - size
      value = redis.call('GET', key)
    end
  end
  local n = 4 * i
  reply[n - 3], reply[n - 2], reply[n - 1], reply[n] = kind, redis.call('PTTL', key), size, value
end
return reply
