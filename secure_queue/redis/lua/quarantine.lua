-- quarantine: moves payloads that did not open out of the way, with the reasons; old evidence goes when there is too much.
-- KEYS  1 meta (hash)   2 leases (zset)   3 quarantine (stream)   4 aborts (hash)   5 lines (zset)   6 wake (zset)   then for each payload: bucket (hash), result (string)   then for each priority: ready (list), highest first
-- ARGV  1 most bytes kept of a payload   2 how many entries are kept   3 how many bytes are kept   4 ms that they are kept   then for each payload: id, lease token (empty if none is held), reason, SHA-256 of the payload if the caller has it
-- Returns one character for each payload: "1" moved, "0" the lease was lost, "3" nothing is missing (a second entry of a task that has finished, or its payload has come), "2" full (somebody has used up the ids of the stream: it must be moved aside first)
local leases, quarantine, aborts, lines, wake = unpack(KEYS, 2, 6)
local first_list = 5 + #ARGV / 2
local most, most_entries, most_bytes, kept_ms = unpack(ARGV, 1, 4)
most, most_entries, most_bytes, kept_ms = tonumber(most), tonumber(most_entries), tonumber(most_bytes), tonumber(kept_ms)
allow_when_full(KEYS[1])
expect('zset', leases)
expect('hash', aborts)
expect('stream', quarantine)
expect_buckets(7, 2, first_list - 1)
local has_result = {}
for i = 8, first_list - 1, 2 do has_result[KEYS[i]] = redis.call('GET', KEYS[i]) and true end
local now = queue_time(KEYS[1])
local any_lines = expect('zset', lines) > 0
if any_lines then expect_lines(lines, wake, first_list) end
local held = redis.call('XLEN', quarantine) > 0

local function move(bucket, result, id, token, reason, digest)
  local stored = redis.call('HMGET', bucket, id, RUN .. id)
  local _, _, holder = parse_run(stored[2])
  if token ~= '' and holder ~= token then return '0', 0 end
  if token == '' and (stored[1] or has_result[result]) then return '3', 0 end
  local payload = stored[1] or ''
  local fields = {'id', id, 'reason', reason, 'size', #payload, 'sha256', digest, 'at', now,
                  'payload', string.sub(payload, 1, most)}
  local added = redis.pcall('XADD', quarantine, '*', unpack(fields))
  if added['err'] then return '2', 0 end
  redis.call('HDEL', bucket, id, RUN .. id, WAITERS .. id, DEATH .. id, CHILDREN .. id)
  if any_lines then step_out(lines, wake, first_list, bucket, id) end
  redis.call('ZREM', leases, id)
  redis.call('HDEL', aborts, id)
  return '1', weight(fields)
end

local replies, added, moved = {}, 0, 0
for i = 1, #ARGV / 4 - 1 do
  local reply, bytes = move(KEYS[2 * i + 5], KEYS[2 * i + 6], unpack(ARGV, 4 * i + 1, 4 * i + 4))
  replies[i], added = reply, added + bytes
  if reply == '1' then moved = moved + 1 end
end
if moved == 0 then return table.concat(replies) end

local counted = held and tonumber(redis.call('HGET', KEYS[1], 'quarantined') or 0) or 0
if counted ~= counted or counted < 0 or counted > 2 * most_bytes then counted = 0 end       -- not a count of ours
local entries, bytes = redis.call('XLEN', quarantine), counted + added

-- Takes the oldest of *some* entries out while there is too much; false as soon as there is not, or one alone is left.
local function trim(some)
  local gone = {}
  for _, entry in ipairs(redis.call('XRANGE', quarantine, '-', '+', 'COUNT', some)) do
    local age = now - tonumber(string.match(entry[1], '^%d+'))
    if entries <= 1 or (entries <= most_entries and bytes <= most_bytes and age <= kept_ms) then break end
    gone[#gone + 1] = entry[1]
    entries, bytes = entries - 1, bytes - weight(entry[2])
  end
  if gone[1] then redis.call('XDEL', quarantine, unpack(gone)) end
  return #gone == some
end

local some = 1                                       -- usually there is nothing to take out; few at once: they may be large
for _ = 1, (100 + moved) / 10 do
  if not trim(some) then break end
  some = 10
end
redis.call('HSET', KEYS[1], 'quarantined', math.max(0, bytes))
redis.call('PEXPIRE', quarantine, kept_ms)
return table.concat(replies)
