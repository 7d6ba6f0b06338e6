-- timetable: reads the schedules if they have changed, and how far those named have been looked at; forgets who is looked at no more.
-- KEYS  1 meta (hash)   2 schedules (hash)   3 fired (hash)
-- ARGV  1 version that the caller has, "" if it wants marks only   2 largest schedule in bytes   3 most bytes of all of them   4.. names
-- Returns {now in ms, version, {id, sealed schedule, ...} or false if the version is the same, {mark or "" for each name}}
local meta, schedules, fired = KEYS[1], KEYS[2], KEYS[3]
allow_when_full(meta)
expect('hash', schedules, fired)
local now = queue_time(meta)
redis.call('PEXPIRE', schedules, TIMETABLE_MS)
redis.call('PEXPIRE', fired, TIMETABLE_MS)

local version = redis.call('HGET', meta, 'timetable') or 'none'
local changed = false
if ARGV[1] ~= '' and version ~= ARGV[1] then
  local stored = redis.call('HGETALL', schedules)
  local limit, left = tonumber(ARGV[2]), tonumber(ARGV[3])
  changed = {}
  for i = 1, #stored, 2 do
    local id, sealed = stored[i], stored[i + 1]
    if #id <= MAX_ID and #sealed <= math.min(limit, left) then
      left = left - #sealed
      changed[#changed + 1], changed[#changed + 2] = id, sealed
    end
  end
end

-- Whoever reads all schedules drops the marks of those that nobody stores, names or looks at any more: code has lost them.
if changed then
  local known = {}
  for i = 1, #changed, 2 do known[changed[i]] = true end
  for i = 4, #ARGV do known[ARGV[i]] = true end
  local noted, lost = redis.call('HGETALL', fired), {}
  for i = 1, #noted, 2 do
    local looked = tonumber(string.match(noted[i + 1], '^(%d+):') or '') or 0
    if not known[noted[i]] and math.abs(now - looked) > TIMETABLE_MS then lost[#lost + 1] = noted[i] end
  end
  call_in_chunks('HDEL', fired, lost)
end

local marks = {}
for i = 4, #ARGV do
  local noted = redis.call('HGET', fired, ARGV[i]) or ''
  marks[#marks + 1] = #noted > MAX_MARK and '' or noted
end
return {now, version, changed, marks}
