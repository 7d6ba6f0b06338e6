-- lost_results: which results are gone although the index says that their time is not over.
-- KEYS  1 results (zset)   then for each id: result (string)
-- ARGV  ids
-- Returns the ids whose result is gone
local time = redis.call('TIME')
local soon = time[1] * 1000 + 1000   -- what is about to expire may already have gone
local lost = {}
for i, id in ipairs(ARGV) do
  local over = tonumber(redis.call('ZSCORE', KEYS[1], id) or 0)
  if over > soon and redis.call('EXISTS', KEYS[i + 1]) == 0 then lost[#lost + 1] = id end
end
return lost
