-- register: notes how many partitions somebody uses, and tells how many are used at all. A caller who uses 0 only asks,
-- and nothing is written.
-- KEYS  1 config (hash)   2 meta (hash)
-- ARGV  1 partitions of the caller   2 partitions of ids of one's own, as the caller knows them (0: not yet)   3 most partitions   4 ms that the register is kept   5 1 if the first partition holds something already, else 0
-- Returns {partitions, partitions of ids of one's own}
local config, meta = KEYS[1], KEYS[2]
local wanted, known, most, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
expect('hash', config, meta)

local function stored(field)
  local number = tonumber(redis.call('HGET', config, field) or '')
  if number and number >= 1 and number <= most and number == math.floor(number) then return number end
end

-- Ids of one's own stay where they have been from the first use of the queue on, however many partitions there are later.
-- In a queue that was used before it had a register, or whose users said that they have one partition, that is the first.
local was_used = redis.call('HGET', meta, 'key_partitions') == '1' or ARGV[5] == '1'
local before, fixed = stored('partitions'), stored('key_partitions')
local by_key = fixed or (known > 0 and known) or (was_used and 1) or math.max(wanted, 1)
local partitions = math.max(before or 1, wanted, by_key)     -- what ids of one's own lead to is served

if wanted > 0 then
  allow_when_full(meta)
  queue_time(meta)
  if by_key == 1 then redis.call('HSET', meta, 'key_partitions', 1) end
  if partitions > 1 or by_key > 1 or before then
    if before ~= partitions or fixed ~= by_key then
      redis.call('HSET', config, 'partitions', partitions, 'key_partitions', by_key)
    end
    redis.call('PEXPIRE', config, kept)
  end
end

return {partitions, by_key}
