-- partial: reads what a task has said before its end.
-- KEYS  1 partial (hash)
-- ARGV  1 number of the first part   2 how many parts at most   3 most bytes of one reply
-- Returns {the last progress or false, then the parts as far as they are there and fit}
local limit, reply = tonumber(ARGV[3]), {}
local function fitting(field)
  local found = redis.call('HGET', KEYS[1], field)
  if not found or #found > limit then return false end
  limit = limit - #found
  return found
end

reply[1] = fitting('progress')
for number = tonumber(ARGV[1]), ARGV[1] + ARGV[2] - 1 do
  local part = fitting(string.format('%d', number))
  if not part then break end
  reply[#reply + 1] = part
end
return reply
