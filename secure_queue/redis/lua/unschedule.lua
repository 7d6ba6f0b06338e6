-- unschedule: removes a schedule and what is known of its firings; runs that it has enqueued stay.
-- KEYS  1 meta (hash)   2 schedules (hash)   3 fired (hash)
-- ARGV  1 id   2 new version of the timetable
-- Returns "removed" | "unknown"
allow_when_full(KEYS[1])
expect('hash', KEYS[2], KEYS[3])
if redis.call('HGET', KEYS[1], 'timetable') == ARGV[2] then return 'removed' end       -- a retry after a lost reply
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 then return 'unknown' end
redis.call('HSET', KEYS[1], 'timetable', ARGV[2])
return 'removed'
