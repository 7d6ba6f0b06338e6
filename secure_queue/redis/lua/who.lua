-- who: the sealed records of the processes that live.
-- KEYS  1 presence (hash)   2 present (zset)
-- ARGV  1 how many at the most   2 largest record in bytes
-- Returns for each process: its name, its record
local reply = {}
local time = redis.call('TIME')
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], time[1] * 1000, '+inf', 'LIMIT', 0, ARGV[1])) do
  local record = redis.call('HGET', KEYS[1], process)
  if record and #record <= tonumber(ARGV[2]) then
    reply[#reply + 1], reply[#reply + 2] = string.sub(process, 1, 300), record
  end
end
return reply
