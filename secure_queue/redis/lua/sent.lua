-- sent: deletes ends that were delivered from the outbox.
-- KEYS  1 meta (hash)   2 outbox (hash)
-- ARGV  the names of the ends in the outbox
-- Returns how many were deleted
allow_when_full(KEYS[1])
local deleted = 0
for first = 1, #ARGV, 1000 do
  deleted = deleted + redis.call('HDEL', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return deleted
