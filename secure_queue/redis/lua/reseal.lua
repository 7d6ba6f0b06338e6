-- reseal: puts the same payload under a fresh seal into its place, unless the place has changed meanwhile.
-- KEYS  1 meta (hash)   2 string or hash
-- ARGV  1 field, empty for a string   2 SHA-1 of what is there   3 what comes there   4 new version of the timetable, "" for what is no schedule
-- Returns "resealed" | "changed"
local field, digest, fresh = ARGV[1], ARGV[2], ARGV[3]
queue_time(KEYS[1])
local found
if field == '' then found = redis.call('GET', KEYS[2]) else found = redis.call('HGET', KEYS[2], field) end
if found == fresh then return 'resealed' end       -- a retry after a lost reply
if not found or redis.sha1hex(found) ~= digest then return 'changed' end
if field == '' then
  redis.call('SET', KEYS[2], fresh, 'KEEPTTL')
else
  redis.call('HSET', KEYS[2], field, fresh)
end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'timetable', ARGV[4]) end
return 'resealed'
