#!lua name=scv_promotion
-- The pointer to the generation that readers see.

-- KEYS = scv:active  ARGV = generation, number of its promotion. The pointer never goes back: whoever comes late, with a smaller
-- number, writes nothing. Gives 1, or 0 where a greater number is there.
local function activate(keys, args)
  local stored = redis.call('GET', keys[1])
  local number = stored and tonumber(string.match(stored, ' (%d+)$')) or 0
  if number > tonumber(args[2]) then return 0 end
  redis.call('SET', keys[1], args[1] .. ' ' .. args[2])
  return 1
end

redis.register_function('scv_activate', activate)
