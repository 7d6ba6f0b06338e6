-- forget_notes: takes the oldest records off the audit log, once they are kept elsewhere.
-- KEYS  1 audit (list)
-- ARGV  1 how many   2 SHA-1 of the first one
-- Returns how many were taken off: none if the log does not begin with that record
local first = redis.call('LINDEX', KEYS[1], 0)
if not first or redis.sha1hex(first) ~= ARGV[2] then return 0 end       -- a retry after a lost reply, or somebody else did it
redis.call('LPOP', KEYS[1], ARGV[1])
return tonumber(ARGV[1])
