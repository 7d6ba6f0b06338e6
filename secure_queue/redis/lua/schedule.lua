-- schedule: stores or replaces a sealed schedule; it fires for the first time after now.
-- KEYS  1 meta (hash)   2 schedules (hash)   3 fired (hash)
-- ARGV  1 id   2 sealed schedule   3 new version of the timetable   4 how many schedules are kept
-- Returns "scheduled" | "full"
local meta, schedules, fired = KEYS[1], KEYS[2], KEYS[3]
local id, sealed = ARGV[1], ARGV[2]
expect('hash', schedules, fired)
local now = queue_time(meta)
local stored = redis.call('HGET', schedules, id)
if stored == sealed then return 'scheduled' end       -- a retry after a lost reply
if not stored and redis.call('HLEN', schedules) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', schedules, id, sealed)
redis.call('HSET', fired, id, now .. ':0:')
redis.call('HSET', meta, 'timetable', ARGV[3])
redis.call('PEXPIRE', schedules, TIMETABLE_MS)
redis.call('PEXPIRE', fired, TIMETABLE_MS)
return 'scheduled'
