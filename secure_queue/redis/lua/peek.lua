-- peek: reads one stored value, for audits, unless it is too large.
-- KEYS  1 string or hash
-- ARGV  1 "string" or "field"   2 field   3 largest value in bytes
-- Returns the value, its size if it is too large, or false if there is none
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
if ARGV[1] == 'string' then
  local size = redis.call('STRLEN', KEYS[1])
  if size > tonumber(ARGV[3]) then return size end
  return redis.call('GET', KEYS[1])
end
local size = redis.call('HSTRLEN', KEYS[1], ARGV[2])
if size > tonumber(ARGV[3]) then return size end
return redis.call('HGET', KEYS[1], ARGV[2])
