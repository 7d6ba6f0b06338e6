-- destroy: deletes an entry of the quarantine for ever.
-- KEYS  1 meta (hash)   2 quarantine (stream)
-- ARGV  1 entry
-- Returns "destroyed" | "unknown"
allow_when_full(KEYS[1])
return take_out(KEYS[1], KEYS[2], ARGV[1]) and 'destroyed' or 'unknown'
