-- repair: moves keys aside that hold another type than their structure, so that the queue goes on and the evidence stays.
-- KEYS  for each: the key, the name under which a misfit is kept
-- ARGV  1 ms that a misfit is kept   then for each: the type that the key must have
-- Returns the keys that were moved
local moved = {}
for i = 1, #ARGV - 1 do
  local key, aside = KEYS[2 * i - 1], KEYS[2 * i]
  local kind = redis.call('TYPE', key)
  kind = kind['ok'] or kind
  if kind ~= 'none' and kind ~= ARGV[i + 1] then
    redis.call('RENAME', key, aside)
    redis.call('PEXPIRE', aside, ARGV[1])
    moved[#moved + 1] = key
  end
end
return moved
