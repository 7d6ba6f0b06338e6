-- fire: enqueues the run of a schedule for one firing, unless another worker was faster; or only notes how far it was looked at.
-- KEYS  1 meta (hash)   2 wake (zset)   3 ready (list)   4 schedules (hash)   5 fired (hash)   6 result (string)   7..70 buckets (hash)
-- ARGV  1 name   2 mark that the caller has seen, "" for none   3 new mark   4 time of the firing in ms   5 sealed schedule, "" for one that lives in code   6 id of the run before that must have ended, or ""   7 id, "" to enqueue nothing   8 sealed task   9 "1" if it waits for the end of the run before
-- Returns "fired" | "noted" | "stale" (the mark is another one) | "gone" (the schedule is) | "overlap" (noted only: the run before goes on) | "waits" (for the same, and nothing was noted) | "early" (by this clock)
local meta, schedules, fired = KEYS[1], KEYS[4], KEYS[5]
local name, seen, mark, moment, schedule, before, id, sealed, waits = unpack(ARGV)
expect('zset', KEYS[2])
expect('list', KEYS[3])
expect('hash', schedules, fired, unpack(KEYS, 7, 70))
local now = queue_time(meta)
local noted = redis.call('HGET', fired, name) or ''
if #noted > MAX_MARK then noted = '' end
if noted == mark and id ~= '' and redis.call('HGET', KEYS[7 + bucket_of(id)], id) == sealed then
  return 'fired'                                             -- a retry after a lost reply
end
if noted ~= seen then return 'stale' end
if schedule ~= '' and redis.call('HGET', schedules, name) ~= schedule then return 'gone' end
if tonumber(moment) > now then return 'early' end
local function goes_on(task_id)       -- a dead letter has ended
  local stored = redis.call('HMGET', KEYS[7 + bucket_of(task_id)], task_id, DEATH .. task_id)
  return stored[1] and not stored[2]
end

local overlaps = id ~= '' and before ~= '' and goes_on(before)
if overlaps and waits == '1' then return 'waits' end
if id == '' or overlaps then
  local looked, rule = string.match(mark, '^(%d+):%d+:[^:]*(.*)$')
  local last, before_id = string.match(seen, '^%d+:(%d+):([%w_.-]*)')
  if not last or #last > 15 or #before_id > 128 then last, before_id = '0', '' end   -- never kept: nobody could read it
  redis.call('HSET', fired, name, looked .. ':' .. last .. ':' .. before_id .. rule)
  redis.call('PEXPIRE', fired, TIMETABLE_MS)
  return id == '' and 'noted' or 'overlap'
end
redis.call('HSET', fired, name, mark)
redis.call('PEXPIRE', fired, TIMETABLE_MS)
if redis.call('EXISTS', KEYS[6]) == 0 and redis.call('HSETNX', KEYS[7 + bucket_of(id)], id, sealed) == 1 then
  redis.call('RPUSH', KEYS[3], id)
  wake_up(KEYS[2])
end
return 'fired'
