-- What all scripts must agree on: the queue's clock, the bucket of a task id, the spelling of fields and run records.

local MAX_SKEW_MS = 600000          -- a clock mark further ahead than this is a forgery or a fault, and is ignored
local META_TTL_MS = 604800000
local MAX_MARK = 200                -- of how far a schedule was looked at; a longer one is not ours
local TIMETABLE_MS = 34560000000    -- schedules are kept for 400 days after the last worker has read them

-- Milliseconds by the server's clock, which never run backwards within a queue: a failover to a node whose clock is
-- behind makes the queue's clock stand still, not jump back.
local function queue_time(meta)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local mark = tonumber(redis.call('HGET', meta, 'clock') or 0) or 0
  if mark > now and mark - now < MAX_SKEW_MS then now = mark end
  redis.call('HSET', meta, 'clock', now)
  redis.call('PEXPIRE', meta, META_TTL_MS)
  return now
end

-- A time that fits a reply, whatever score somebody has written: 1 to 2^53.
local function bounded_ms(ms)
  return math.max(1, math.min(ms, 9007199254740992))
end

-- A first write that is never refused for lack of memory: what follows in the script then passes too, so that workers
-- can finish tasks, and thereby free memory, on a full server.
local function allow_when_full(meta)
  redis.call('HDEL', meta, '_')
end

-- The same rule as keys.bucket_of in Python, on any bytes; 53 spreads hexadecimal digits over all buckets.
local function bucket_of(id)
  local a, b = string.byte(id, -2, -1)
  if not b then a, b = 0, a or 0 end
  return (a * 53 + b) % 64
end

-- In the bucket hash a task has the field <id> (sealed task) and beside it, under marks that no id can contain:
-- run record, waiting clients, failure of a dead letter, mark of an entry that an aborted task left in a ready list,
-- the tasks that depend on it.
local RUN, WAITERS, DEATH, GHOST, CHILDREN = '!r', '!w', '!d', '!g', '!c'

local MAX_ID = 16384        -- of an id that is longer (a genuine one has at most 128 bytes) only the beginning is told

local MAX_REPLY = 4194304   -- bytes of payloads in one claim, about: a reply must arrive before its deadline

-- A run record is "<tries>:<priority>:<holder>", with tries counted up to MAX_TRIES; the holder is a lease token while the
-- task runs, "-<token>" once that holder has given it back, and empty before. A "!" behind the tries says that the last of
-- them has really begun, which is noted for the last permitted try only; "!!" that one before the last has, which stays
-- until the task has its end, whoever claims it for that and dies or gives it back.
local MAX_TRIES = 9999
local function parse_run(run)
  local tries, begun, priority, holder = string.match(run or '', '^(%d%d?%d?%d?)(!?!?):([^:]*):(.*)$')
  return tonumber(tries) or 0, priority or '', holder or '', begun or ''
end

local function is_held(holder)
  return holder ~= '' and string.sub(holder, 1, 1) ~= '-'
end

-- Fails with WRONGTYPE if a key holds another type than its structure. Called before the first write of what depends on
-- it: the storage moves the misfit aside and runs the script again, which must then find everything as it was.
local SIZE_OF = {hash = 'HLEN', list = 'LLEN', zset = 'ZCARD', stream = 'XLEN'}
local function expect(kind, ...)
  for _, key in ipairs({...}) do redis.call(SIZE_OF[kind], key) end
end

local function expect_buckets(first, step)
  local seen = {}
  for i = first, #KEYS, step do
    if not seen[KEYS[i]] then
      seen[KEYS[i]] = true
      redis.call('HLEN', KEYS[i])
    end
  end
end

local function wake_up(wake)
  redis.call('ZADD', wake, 0, '0')
end

-- Calls a command with a list that may be longer than what unpack can take at once.
local function call_in_chunks(command, key, list)
  for first = 1, #list, 1000 do
    redis.call(command, key, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- Lines new tasks up: the ids in *ready* to run now, the times and ids in *due* for then.
local function line_up(wake, list, ready, set, due)
  if #ready > 0 then
    call_in_chunks('RPUSH', list, ready)
    wake_up(wake)
  end
  call_in_chunks('ZADD', set, due)
end

local MARK_MS = 100000       -- how long a repeated enqueue is known again; producers repeat for 20 s

-- Stores a sealed result for *ttl* ms, negative for ever; without *ttl*, and then only for a while, "-" and the *mark* of
-- one that is not kept.
local function store_result(key, sealed, ttl, mark)
  if not ttl then
    redis.call('SET', key, '-' .. mark, 'PX', MARK_MS)
  elseif ttl < 0 then
    redis.call('SET', key, sealed)
  else
    redis.call('SET', key, sealed, 'PX', ttl)
  end
end

-- Adds times and ids to the index of results, the longest of which is kept for *ttl*.
local function add_to_index(index, entries, ttl)
  local left = redis.call('PTTL', index)        -- -2: there is no index yet, -1: it is kept for ever
  call_in_chunks('ZADD', index, entries)
  if ttl < 0 then
    redis.call('PERSIST', index)
  elseif left ~= -1 and left < ttl then
    redis.call('PEXPIRE', index, ttl)
  end
end

local MAX_WAITERS = 8200     -- bytes of names of clients

-- Sends the sealed result to everybody who waits for it; "\n" stands between names, a zero byte ends the id. Who wrote a
-- name there could mean any channel, so that the queue's own are spelled here: as keys.done_channel does.
local function push_result(meta, waiters, id, sealed)
  if not waiters or #waiters > MAX_WAITERS then return end       -- so many did not come by way of watch
  local channels = string.match(meta, '^[^}]*}:') .. 'done:'
  for client in string.gmatch(waiters, '[^\n]+') do
    redis.call('PUBLISH', channels .. client, id .. '\0' .. sealed)
  end
end

local MAX_CHILDREN = 1048576       -- bytes of partitions and ids of dependents

-- Leaves the end of a task in the outbox for those who depend on it. An end of the same id that has not been fetched yet
-- stays beside it.
local function leave(outbox, id, children, sealed)
  if #children > MAX_CHILDREN then return end       -- so many did not come by way of enqueue_linked and follow
  local entry = children .. '\0' .. sealed
  if redis.call('HSETNX', outbox, id, entry) == 0 and redis.call('HGET', outbox, id) ~= entry then
    redis.call('HSET', outbox, id .. ' ' .. redis.sha1hex(entry), entry)
  end
end

local LINE_MS = 3600000       -- how long a line for a limit is kept when nobody asks for it
local CALLED = '!'            -- in the place of a note: the turn of this task has come

local function keep_at_least(key, ms)
  local left = redis.call('PTTL', key)
  if left > -2 and left < ms then redis.call('PEXPIRE', key, math.ceil(ms)) end
end

-- Gives a task a place in the line of a limit, behind those of its priority and of higher ones; who has a place keeps it.
local function line_up_for_limit(line, who, rank, now, nth)
  redis.call('ZADD', line, 'NX', string.format('%.4f', rank * 1e12 + now % 1e12 + nth / 1000), who)
end

-- Promises the permits that are free to the first in the line, and adds their names to *called*; true if *who* was among
-- them, which needs no promise.
local function promise(permits, line, most, deadline, called, who)
  local free, found = math.min(most - redis.call('ZCARD', permits), 500), false
  if free <= 0 then return false end
  for _, first in ipairs(redis.call('ZRANGE', line, 0, free - 1)) do
    if first == who then
      found = true
    else
      redis.call('ZADD', permits, deadline, first)
      redis.call('ZREM', line, first)
      called[#called + 1] = first
    end
  end
  return found
end

-- Whether a pause with that end (0: none) goes on.
local function is_paused(until_then, now)
  local ms = tonumber(until_then or -1) or -1
  return ms == 0 or ms > now
end

-- How many bytes an entry of the quarantine counts for; the sum stands in meta, and begins anew with the stream.
local function weight(fields)
  local sum = 0
  for _, field in ipairs(fields) do sum = sum + #tostring(field) end
  return sum
end

-- Takes an entry out of the quarantine by hand; false if there is none of that name.
local function take_out(meta, quarantine, entry)
  local found = redis.call('XRANGE', quarantine, entry, entry)[1]
  if not found then return false end
  local counted = tonumber(redis.call('HGET', meta, 'quarantined') or 0) or 0
  redis.call('HSET', meta, 'quarantined', math.max(0, counted - weight(found[2])))
  redis.call('XDEL', quarantine, entry)
  return true
end
