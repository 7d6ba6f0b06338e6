-- look_up: tells where a task stands and what is stored of it.
-- KEYS  1 meta (hash)   2 dead (zset)   3 bucket (hash)   4 result (string)   5.. due (zset)
-- ARGV  1 id   2 largest payload in bytes
-- Returns {"not_found" | "done" | "dead" | "running" | "scheduled" | "queued", sealed task or false, tries, due in ms or 0, sealed result or false, sealed failure or false, what it was given back for or false}
local id, limit = ARGV[1], tonumber(ARGV[2])
local function bounded(value)
  if value and #value > limit then return #value end
  return value
end
local stored = redis.call('HMGET', KEYS[3], id, RUN .. id, DEATH .. id)
local result = redis.call('GET', KEYS[4])
local tries, _, holder = parse_run(stored[2])
local due = 0
for i = 5, #KEYS do
  local score = redis.call('ZSCORE', KEYS[i], id)
  if score then due = bounded_ms(tonumber(score)) end
end
local state = 'queued'
if not stored[1] then
  state = result and 'done' or 'not_found'
elseif redis.call('ZSCORE', KEYS[2], id) then
  state = 'dead'
elseif is_held(holder) then
  state = 'running'
elseif due > 0 then
  state = 'scheduled'
end
return {state, bounded(stored[1]), tries, due, bounded(result), bounded(stored[3]), bounded(note_of(holder))}
