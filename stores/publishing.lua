#!lua name=scv_publishing
-- What the publisher keeps: what it published last of each customer, and up to where that is complete. Each function
-- checks everything before its first write. Numbers that are compared stay below 2^53.

local function newer(a, b)
  local a1, a2, a3 = string.match(a, '^(%d+)%.(%d+)%.(%d+)$')
  local b1, b2, b3 = string.match(b, '^(%d+)%.(%d+)%.(%d+)$')
  if a1 ~= b1 then return tonumber(a1) > tonumber(b1) end
  if a2 ~= b2 then return tonumber(a2) > tonumber(b2) end
  return tonumber(a3) > tonumber(b3)
end

-- What was published: KEYS = published…  ARGV per key: version, state, number of sections, then name and hash of each.
-- A publisher that was paused comes late: what is newer stays. Gives how many were written.
local function published(keys, args)
  local written, at = 0, 1
  for i = 1, #keys do
    local sections, count = {}, tonumber(args[at + 2])
    for j = 1, 2 * count do sections[j] = args[at + 2 + j] end
    local stored = redis.call('HGET', keys[i], 'version')
    if not stored or newer(args[at], stored) then
      redis.call('DEL', keys[i])
      redis.call('HSET', keys[i], 'version', args[at], 'state', args[at + 1], unpack(sections))
      written = written + 1
    end
    at = at + 3 + 2 * count
  end
  return written
end

-- Up to where that is complete: KEYS = cursor  ARGV = expected offset ('' for none), new one, then other fields of the lane
-- with what they become. Gives 1, or 0 and writes nothing: somebody else publishes here, or the store went back.
local function mark(keys, args)
  if (redis.call('HGET', keys[1], 'published') or '') ~= args[1] then return 0 end
  redis.call('HSET', keys[1], 'published', unpack(args, 2))
  return 1
end

redis.register_function('scv_published', published)
redis.register_function('scv_mark', mark)
