-- keep_workflows: keeps the sealed descriptions of workflows.
-- KEYS  for each: workflow (string)
-- ARGV  for each: sealed description, ms that it is kept
-- Returns "kept"
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[2 * i - 1], 'PX', ARGV[2 * i]) end
return 'kept'
