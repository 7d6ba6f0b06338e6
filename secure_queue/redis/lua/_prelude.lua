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
  if math.floor(mark / 60000) ~= math.floor(now / 60000) then redis.call('PEXPIRE', meta, META_TTL_MS) end
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
-- the tasks that depend on it, its line and place there. The hash of unique keys has under a mark of its own, and the id of
-- a task, the id of the call that has taken its place.
local RUN, WAITERS, DEATH, GHOST, CHILDREN, LINE = '!r', '!w', '!d', '!g', '!c', '!k'
local REPLACED = '!x'

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

-- What a task was given back for may stand behind the token of who gave it back: "-<token> <note>".
local function note_of(holder)
  return string.match(holder, '^%-[^ ]+ (.*)$') or false
end

local function gave_back(holder, token)
  return holder == '-' .. token or string.sub(holder, 1, #token + 2) == '-' .. token .. ' '
end

-- Fails with WRONGTYPE if a key holds another type than its structure. Called before the first write of what depends on
-- it: the storage moves the misfit aside and runs the script again, which must then find everything as it was. Returns the
-- size of the last of them.
local SIZE_OF = {hash = 'HLEN', list = 'LLEN', zset = 'ZCARD', stream = 'XLEN'}
local function expect(kind, ...)
  local size = 0
  for _, key in ipairs({...}) do size = redis.call(SIZE_OF[kind], key) end
  return size
end

local function expect_buckets(first, step, last)
  local seen = {}
  for i = first, last or #KEYS, step do
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

-- The run record of a task that a claimer takes now under its token, and its tries.
local function claimed_by(token, tries, begun, priority)
  tries = math.min(tries + 1, MAX_TRIES)
  return tries .. (begun ~= '' and '!!' or '') .. ':' .. priority .. ':' .. token, tries
end

-- Tells a claimer of a task, in five values: id, sealed task (or its size if it is too large, or false), tries, priority, and
-- hints: 1 there seems to be a result of it, 2 the try before has really begun. Returns how many bytes that are, about.
local function tell(reply, limit, results, id, sealed, tries, priority, death, begun)
  local n, bytes = #reply, sealed and #sealed or 0
  if bytes > limit then sealed, bytes = bytes, 0 end
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = string.sub(id, 1, MAX_ID), sealed, tries, priority
  reply[n + 5] = ((death or redis.call('ZSCORE', results, id)) and 1 or 0) + (begun and 2 or 0)
  return bytes
end

-- Tells a claimer whose request is repeated after a lost reply of what it was given by this token, as far as that is still
-- held by it; false if the token is another one. The buckets are the keys from *first* on.
local function tell_again(reply, limit, results, last, token, first)
  if redis.call('LINDEX', last, 0) ~= token then return false end
  for _, id in ipairs(redis.call('LRANGE', last, 1, -1)) do
    local stored = redis.call('HMGET', KEYS[first + bucket_of(id)], id, RUN .. id, DEATH .. id)
    local tries, priority, holder, begun = parse_run(stored[2])
    if holder == token then tell(reply, limit, results, id, stored[1], tries, priority, stored[3], begun == '!!') end
  end
  return true
end

-- Remembers for such a repetition what a claimer is given: its token, and ids.
local function remember_claim(last, given)
  redis.call('DEL', last)
  call_in_chunks('RPUSH', last, given)
  redis.call('PEXPIRE', last, 60000)
end

local SOON_MS = 600         -- every worker looks for due tasks more often than that

-- Has an idle worker look when a task will be due that is due before somebody looks in any case; unless one knows of an
-- earlier moment that is still to come, and looks on from there.
local function tell_if_soon(meta, wake, now, moment)
  if moment > now + SOON_MS then return end
  local told = tonumber(redis.call('HGET', meta, 'soon') or '') or 0
  if told > now and told <= moment then return end
  redis.call('HSET', meta, 'soon', string.format('%.0f', moment))
  redis.call('ZADD', wake, 1, 'soon')
end

-- Takes the marker away that there is something to claim, and whatever else is no word of a due task.
local function nothing_is_ready(wake)
  if redis.call('EXISTS', wake) == 0 then return end       -- as it is when a worker was woken by the last word there
  local soon = redis.call('ZSCORE', wake, 'soon')
  redis.call('DEL', wake)
  if soon then redis.call('ZADD', wake, 1, 'soon') end
end

-- Lines new tasks up: the ids in *ready* to run now, the times and ids in *due* for then.
local function line_up(meta, wake, now, list, ready, set, due)
  if #ready > 0 then
    call_in_chunks('RPUSH', list, ready)
    wake_up(wake)
  end
  call_in_chunks('ZADD', set, due)
  local first = due[1]
  for i = 3, #due, 2 do first = math.min(first, due[i]) end
  if first then tell_if_soon(meta, wake, now, first) end
end

local MARK_MS = 100000       -- how long a repeated enqueue is known again; producers repeat for 20 s

-- Remembers a task of which nothing else may be left, so that a late repetition of its enqueue is known.
local function note_finished(finished, now, sealed)
  redis.call('ZADD', finished, now + MARK_MS, redis.sha1hex(sealed))
  redis.call('PEXPIRE', finished, MARK_MS)
end

-- Stores a new task: "1" if it is stored (now, or by this very call before), "0" if its id is known already; and whether it
-- is new. A payload that is known as finished is a retry after a lost reply, so late that the task is done and its result gone.
local function store_new(finished, bucket, result, id, sealed)
  local repeated = finished and redis.call('ZSCORE', finished, redis.sha1hex(sealed))
  if not repeated and redis.call('EXISTS', result) == 0 and redis.call('HSETNX', bucket, id, sealed) == 1 then
    return '1', true
  end
  return (repeated or redis.call('HGET', bucket, id) == sealed) and '1' or '0', false
end

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

-- Does so for a task that has ended now, and forgets who depends on it: "2"; "1" if nobody does.
local function tell_dependents(outbox, bucket, id, children, sealed)
  if not children then return '1' end
  leave(outbox, id, children, sealed)
  redis.call('HDEL', bucket, CHILDREN .. id)
  return '2'
end

local LINE_MS = 3600000       -- how long a line for a limit is kept when nobody asks for it

local function keep_at_least(key, ms)
  local left = redis.call('PTTL', key)
  if left > -2 and left < ms then redis.call('PEXPIRE', key, math.ceil(ms)) end
end

-- Gives a task a place in the line of a limit: behind those that came before it within *width* of *from*, where all of its
-- rank stand; who has a place keeps it.
local function line_up_for_limit(line, who, from, width)
  if redis.call('ZSCORE', line, who) then return end
  local till = string.format('(%.17g', from + width)
  local last = redis.call('ZRANGE', line, till, from, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2]
  local step = math.min(1, width / 8192)
  local place = last and math.min(tonumber(last) + step, from + width - step) or from
  redis.call('ZADD', line, string.format('%.17g', place), who)
end

-- Brings a parked task to the front of its list, from the ready and due keys of all priorities from *first* on; one that is
-- being parked just now finds itself among the called.
local CALLED_MS = 5000
local function bring(called, wake, first, priorities, now, id)
  for key = first, first + 2 * priorities - 1, 2 do
    if redis.call('ZREM', KEYS[key + 1], id) == 1 then
      redis.call('LPUSH', KEYS[key], id)
      wake_up(wake)
      return
    end
  end
  redis.call('ZREMRANGEBYSCORE', called, '-inf', now)
  redis.call('ZADD', called, now + CALLED_MS, id)
  redis.call('PEXPIRE', called, CALLED_MS)
end

-- Promises the permits that are free to the first in the line, and adds their names to *called*; true if *who* was among
-- them, which needs no promise. No permit ends later than the longest lease; one that says so is forged.
local LONGEST_LEASE_MS = 86400000
local function promise(permits, line, most, deadline, called, who)
  redis.call('ZREMRANGEBYSCORE', permits, deadline + LONGEST_LEASE_MS, '+inf')
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

-- What is paused, and the ends of that (0: none); and what is not any more.
local function pauses_of(paused, now)
  local pauses, over = {}, {}
  local found = redis.call('EXISTS', paused) == 1 and redis.call('HGETALL', paused) or {}
  for i = 1, #found, 2 do
    if is_paused(found[i + 1], now) then pauses[found[i]] = tonumber(found[i + 1]) else over[#over + 1] = found[i] end
  end
  return pauses, over
end

-- Claimed tasks whose name is paused lie on the shelf of their priority, in the order in which they came there, as
-- "<mark of the pause>:<place>:<id>". Beside such a task stands the note "shelf <mark of the pause>:<place>".
local function mark_of(what)
  return redis.sha1hex(what)
end

-- The member of a shelf that a task is, if it is one.
local function shelved_as(holder, id)
  local place = string.match(note_of(holder) or '', '^shelf (%x+:%d+)$')
  return place and place .. ':' .. id
end

-- Brings what lies on a shelf for one pause back to the front of its list, in its order. Of very much only a portion, so that
-- nobody waits long for the server, and true: the next portions follow at the end of the list.
local MOST_AT_ONCE = 20000
local function unshelve(meta, shelf, list, wake, mark)
  local ids, first, last, found = {}, '[' .. mark .. ':', '(' .. mark .. ';'
  repeat
    found = redis.call('ZRANGEBYLEX', shelf, first, last, 'LIMIT', 0, 1000)
    call_in_chunks('ZREM', shelf, found)
    for _, member in ipairs(found) do ids[#ids + 1] = string.match(member, '^%x+:%d+:(.+)$') end
  until #found < 1000 or #ids >= MOST_AT_ONCE
  local field = 'unshelved:' .. mark .. string.match(shelf, ':[^:]*$')
  if redis.call('HEXISTS', meta, field) == 1 then
    call_in_chunks('RPUSH', list, ids)
  else
    local backwards = {}
    for i = #ids, 1, -1 do backwards[#backwards + 1] = ids[i] end
    call_in_chunks('LPUSH', list, backwards)
  end
  if #ids > 0 then wake_up(wake) end
  local goes_on = #found == 1000 and redis.call('ZRANGEBYLEX', shelf, first, last, 'LIMIT', 0, 1)[1] ~= nil
  if goes_on then redis.call('HSET', meta, field, 1) else redis.call('HDEL', meta, field) end
  return goes_on
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

-- Tasks of one key stand in a line: in the zset of all lines as "<line>:<place>:<priority>:<id>", so that they lie in the
-- order of their places. The first of them, as many as the line is wide, are let go: they lie where any task may lie. Those
-- behind them are nowhere but here, and once more as "w<priority>:<place>:<id>", so that they can be counted and listed.
-- Beside the task stands "<line>:<place>:<priority>", with no place as long as its time has not come. A line of kind "o"
-- keeps its tasks in order (one is left when its task has ended), one of kind "f" gives every key its turn (one is left when
-- its task is claimed).
local WIDTHS = {o = 1, f = 8}
local MAX_PLACE = 9007199254740991

local function parse_line(text)
  local line, place, priority = string.match(text or '', '^([of]%x+):(%d*):([%w_.-]*)$')
  return line, place, priority
end

-- The next place: never less than one before, also when the mark of the last one was lost, or is a forgery.
local function next_place(meta, now)
  local last = tonumber(redis.call('HGET', meta, 'place') or '') or 0
  if last ~= last or last > (now + MAX_SKEW_MS) * 1000 then last = 0 end
  local place = math.min(math.max(math.floor(last) + 1, now * 1000), MAX_PLACE)
  redis.call('HSET', meta, 'place', string.format('%.0f', place))
  return string.format('%016.0f', place)
end

-- The members of a line, as many as are let go and *more*.
local function front_of(lines, line, more)
  local width = WIDTHS[string.sub(line, 1, 1)]
  return redis.call('ZRANGEBYLEX', lines, '[' .. line .. ':', '(' .. line .. ';', 'LIMIT', 0, width + more), width
end

local function holds(list, wanted)
  for _, one in ipairs(list) do
    if one == wanted then return true end
  end
  return false
end

-- What a member of a line says: place, priority and id.
local function parse_member(member)
  return string.match(member, '^[of]%x+:(%d+):([%w_.-]*):(.+)$')
end

-- What that member is besides, as long as it stands behind others.
local function waits_as(place, priority, id)
  return 'w' .. priority .. ':' .. place .. ':' .. id
end

-- Puts a task whose time has come at the end of its line; true if it is let go at once.
local function join_line(lines, meta, now, bucket, id, line, priority)
  local place = next_place(meta, now)
  local text = line .. ':' .. place .. ':' .. priority
  local member = text .. ':' .. id
  redis.call('HSET', bucket, LINE .. id, text)
  redis.call('ZADD', lines, 0, member)
  local is_let_go = holds((front_of(lines, line, 0)), member)
  if not is_let_go then redis.call('ZADD', lines, 0, waits_as(place, priority, id)) end
  return is_let_go
end

-- Puts a task that had left the queue at the end of the *ready* list, or of its line if it has one.
local function put_back(lines, meta, wake, ready, now, bucket, id, line)
  local priority = string.match(ready, '([^:]*)$')
  line = parse_line(line .. '::' .. priority)
  if not line or join_line(lines, meta, now, bucket, id, line, priority) then
    redis.call('RPUSH', ready, id)
    wake_up(wake)
  end
end

-- The ready list of a priority among those of all, highest first; the lowest if nobody here knows it.
local function list_of(lists, priority)
  for _, list in ipairs(lists) do
    if string.sub(list, -#priority - 1) == ':' .. priority then return list end
  end
  return lists[#lists]
end

-- Takes a member out of its line, and lets the next one go; false if it had not been let go itself.
local function take_member(lines, wake, lists, line, member)
  local front, width = front_of(lines, line, 1)
  local is_let_go = holds({unpack(front, 1, width)}, member)
  redis.call('ZREM', lines, member)
  local place, priority, id = parse_member(not is_let_go and member or front[width + 1] or '')
  if id then redis.call('ZREM', lines, waits_as(place, priority, id)) end
  if id and is_let_go then
    redis.call('RPUSH', list_of(lists, priority), id)
    wake_up(wake)
  end
  return is_let_go
end

-- The same for a task by what stands beside it; true for one that has no place in a line.
local function leave_line(lines, wake, lists, id, text)
  local line, place = parse_line(text)
  if not line or place == '' then return true end
  return take_member(lines, wake, lists, line, text .. ':' .. id)
end

-- What must be of its type before the first write of a script in which a task may leave its line.
local function expect_lines(lines, wake, first_list)
  expect('zset', lines, wake)
  expect('list', unpack(KEYS, first_list))
end

-- Takes a task that runs no more out of its line, with the ready lists of all priorities behind the other keys from
-- *first_list* on.
local function step_out(lines, wake, first_list, bucket, id)
  local text = redis.call('HGET', bucket, LINE .. id)
  if not text then return end
  leave_line(lines, wake, {unpack(KEYS, first_list)}, id, text)
  redis.call('HDEL', bucket, LINE .. id)
end

-- Who holds a unique key now: id, whether it is stored and has not ended, whether it waits, its payload, until when it
-- counts in any case, and since when calls have put each other off. The buckets are the keys from *first* on.
local function holder_of_key(unique, first, digest)
  local entry = redis.call('HGET', unique, digest) or ''
  local till, since, id = string.match(entry, '^(%d+):(%d+):(.+)$')
  if not id then return nil end
  local stored = redis.call('HMGET', KEYS[first + bucket_of(id)], id, RUN .. id, DEATH .. id)
  local alive = stored[1] and not stored[3] and not redis.call('HGET', unique, REPLACED .. id)
  local _, _, holder = parse_run(stored[2])
  return {
    id = id, alive = alive, waits = alive and not is_held(holder), sealed = stored[1],
    till = tonumber(till), since = tonumber(since),
  }
end

local function stands_in_the_way(holder, scope, now)
  return holder.till > now or (scope == 'queued' and holder.waits) or (scope == 'unfinished' and holder.alive)
end

-- Has a task that is put back hold its unique key again; the id of another one that counts, and then nothing is done.
local function take_key(unique, first, now, id, digest, scope)
  local holder = holder_of_key(unique, first, digest)
  if holder and holder.id == id then return nil end
  if holder and stands_in_the_way(holder, scope, now) then return holder.id end
  redis.call('HSET', unique, digest, string.format('0:%.0f:', now) .. id)
end

local MAX_REPLACED, REPLACED_MS = 10000, 3600000       -- so many notes are kept, for so long

-- Deletes a waiting task whose place another call has taken, and notes which one, for whoever asks what has become of it.
-- Those that depend on it are told that it is gone.
local function drop_replaced(unique, replaced, outbox, bucket, id)
  local other, children = redis.call('HGET', unique, REPLACED .. id), redis.call('HGET', bucket, CHILDREN .. id)
  if children then leave(outbox, id, children, '') end
  redis.call('HDEL', bucket, id, RUN .. id, WAITERS .. id, CHILDREN .. id, LINE .. id)
  redis.call('HDEL', unique, REPLACED .. id)
  if redis.call('HLEN', replaced) >= MAX_REPLACED then redis.call('DEL', replaced) end
  redis.call('HSET', replaced, id, other)
  redis.call('PEXPIRE', replaced, REPLACED_MS)
end
