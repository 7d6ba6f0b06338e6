-- pauses: what is paused now.
-- KEYS  1 paused (hash)
-- ARGV  1 how many at the most
-- Returns for each: what is paused, ms that are left (0 without end)
local LONGEST = 400
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {}
if redis.call('HLEN', KEYS[1]) > 10 * tonumber(ARGV[1]) then return reply end       -- so many did not come by way of pause
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  if #reply < 2 * tonumber(ARGV[1]) and #found[i] <= LONGEST and is_paused(found[i + 1], now) then
    local until_then = tonumber(found[i + 1])
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = until_then == 0 and 0 or bounded_ms(math.ceil(until_then - now))
  end
end
return reply
