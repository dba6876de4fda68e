#!lua name=scv
-- What must happen as one step. Scripts do not roll back: every function checks everything before its first write.
-- Numbers that are compared (offsets, positions, revisions) stay below 2^53.

-- The checkpoint and parts of a lane, together: KEYS = cp, part…  Gives {next or '', part or false, …}.
local function load(keys)
  local parts = {}
  for i = 2, #keys do parts[i - 1] = keys[i] end
  local found = #parts > 0 and redis.call('MGET', unpack(parts)) or {}
  table.insert(found, 1, redis.call('HGET', keys[1], 'next') or '')
  return found
end

-- A batch of a lane: KEYS = cp, dirty, part…  ARGV = expected, next, end, at_ms, then per part: packed, subject, revision
-- ('' leaves no mark). Writes all of it if the stored next offset is the expected one; gives 1, or 0 and writes nothing.
local function commit(keys, args)
  if (redis.call('HGET', keys[1], 'next') or '') ~= args[1] then return 0 end
  local values, marks = {}, {}
  local at = 5
  for i = 3, #keys do
    values[#values + 1] = keys[i]
    values[#values + 1] = args[at]
    if args[at + 2] ~= '' then
      marks[#marks + 1] = args[at + 1]
      marks[#marks + 1] = args[at + 2]
    end
    at = at + 3
  end
  if #values > 0 then redis.call('MSET', unpack(values)) end
  if #marks > 0 then redis.call('HSET', keys[2], unpack(marks)) end
  redis.call('HSET', keys[1], 'next', args[2], 'end', args[3], 'at_ms', args[4])
  return 1
end

-- A lane without records looks whether it still stands where the store does: KEYS = cp  ARGV = expected, end ('' when the
-- broker has not told), at_ms.
local function idle(keys, args)
  if (redis.call('HGET', keys[1], 'next') or '') ~= args[1] then return 0 end
  if args[2] ~= '' then redis.call('HSET', keys[1], 'end', args[2], 'at_ms', args[3]) end
  return 1
end

-- Assembled: KEYS = dirty, cp  ARGV = offset, then per mark: subject, revision. A mark made newer meanwhile stays.
-- Gives how many marks are left.
local function close(keys, args)
  for i = 2, #args, 2 do
    if redis.call('HGET', keys[1], args[i]) == args[i + 1] then redis.call('HDEL', keys[1], args[i]) end
  end
  local left = redis.call('HLEN', keys[1])
  local stored = redis.call('HMGET', keys[2], 'next', 'assembled')
  local at, offset = tonumber(stored[1] or ''), tonumber(args[1])
  -- A paused worker that goes on comes late: its offset is passed already.
  if left == 0 and at and at >= offset and offset > tonumber(stored[2] or '0') then
    redis.call('HSET', keys[2], 'assembled', args[1])
  end
  return left
end

-- Where the graph has placed subjects, and the lanes that know them: KEYS = member, lanes, member, lanes…
local function members(keys)
  local found = {}
  for i = 1, #keys, 2 do
    found[i] = redis.call('GET', keys[i])
    found[i + 1] = redis.call('SMEMBERS', keys[i + 1])
  end
  return found
end

-- Sets that only grow: KEYS = set…  ARGV = what to add to each.
local function note(keys, args)
  for i = 1, #keys do redis.call('SADD', keys[i], args[i]) end
  return #keys
end

local function version(text)
  local position, revisions = string.match(text, '^(%d+)%.(%d+)$')
  return tonumber(position), tonumber(revisions)
end

-- One profile, if it is newer than the stored one. `base` '' brings all sections; else only those that differ from the
-- write of that name, which must be the one that is stored.
local function put_one(key, new, founder, writer, base, sections)
  local stored = redis.call('HMGET', key, 'version', 'founder', 'writer')
  if stored[1] then
    if stored[2] ~= founder then return 'founder ' .. stored[2] end
    local position, revisions = version(stored[1])
    local new_position, new_revisions = version(new)
    if position == new_position and revisions == new_revisions then return 'equal' end
    if position > new_position or (position == new_position and revisions > new_revisions) then return 'older' end
  end
  if base ~= '' and stored[3] ~= base then return 'base' end
  redis.call('HSET', key, 'version', new, 'founder', founder, 'state', 'live', 'writer', writer, unpack(sections))
  return 'newer'
end

-- KEYS = profile…  ARGV per key: version, founder, writer, base, number of sections, then name and JSON of each.
-- Gives per key: newer, equal, older, base (send all sections), or 'founder X' (another one holds this id).
local function put(keys, args)
  local answers, at = {}, 1
  for i = 1, #keys do
    local sections, count = {}, tonumber(args[at + 4])
    for j = 1, 2 * count do sections[j] = args[at + 4 + j] end
    answers[i] = put_one(keys[i], args[at], args[at + 1], args[at + 2], args[at + 3], sections)
    at = at + 5 + 2 * count
  end
  return answers
end

-- Before the graph has placed anybody (stamp 0): KEYS = ids…  ARGV = bound, then per key a customer id. Adds the customer
-- to the entry; what the identity writer has written stays. The entry holds the least ids, up to the bound.
local function index(keys, args)
  local bound = tonumber(args[1])
  for i = 1, #keys do
    local stored, customer = redis.call('GET', keys[i]), args[i + 1]
    if not stored or string.sub(stored, 1, 11) == '{"stamp":0,' then
      local ids, known = { customer }, false
      for id in string.gmatch(stored or '', '"customer_id":"([^"]+)"') do
        if id == customer then known = true else ids[#ids + 1] = id end
      end
      if not known then
        table.sort(ids)
        local entries = {}
        for j = 1, math.min(#ids, bound) do
          entries[j] = '{"customer_id":"' .. ids[j] .. '","status":"linking"}'
        end
        local entry = '{"stamp":0,"customers":[' .. table.concat(entries, ',') .. ']}'
        if entry ~= stored then redis.call('SET', keys[i], entry) end
      end
    end
  end
  return #keys
end

local function customers_of(prefix, name, found, listed)
  local entry = redis.call('GET', prefix .. '{' .. name .. '}:ids')
  for id, status in string.gmatch(entry or '', '"customer_id":"([^"]+)","status":"([^"]+)"') do
    if not found[id] then
      found[id] = true
      listed[#listed + 1] = { id, status }
    end
  end
end

-- Public: FCALL_RO scv_lookup 1 scv TYPE VALUE  (value normalised: docs/redis.md). One Redis only, since it follows keys.
-- Gives JSON: {"match":"single|ambiguous|none","generation":…,"customers":[…],"profile":{section:…}|null}.
local function lookup(keys, args)
  if #keys ~= 1 or #args ~= 2 then return redis.error_reply('ERR scv_lookup wants: 1 scv TYPE VALUE') end
  local active = redis.call('GET', keys[1] .. ':active')
  if not active then return '{"match":"none","generation":null,"customers":[],"profile":null}' end
  local generation = string.match(active, '^(%S+)')
  local prefix = keys[1] .. ':' .. generation .. ':'
  local name, found, listed = args[1] .. ':' .. args[2], {}, {}
  customers_of(prefix, name, found, listed)
  local subjects = redis.call('SMEMBERS', prefix .. '{' .. name .. '}:of')
  table.sort(subjects)
  for _, subject in ipairs(subjects) do customers_of(prefix, subject, found, listed) end
  local entries, profile = {}, 'null'
  for i, customer in ipairs(listed) do
    entries[i] = '{"customer_id":"' .. customer[1] .. '","status":"' .. customer[2] .. '"}'
  end
  if #listed == 1 then
    local stored, sections = redis.call('HGETALL', prefix .. '{' .. listed[1][1] .. '}:profile'), {}
    for i = 1, #stored, 2 do
      local value = stored[i + 1]
      if stored[i] == 'version' or stored[i] == 'state' or stored[i] == 'founder' then value = cjson.encode(value) end
      if stored[i] ~= 'writer' then sections[#sections + 1] = '"' .. stored[i] .. '":' .. value end
    end
    if #sections > 0 then
      table.sort(sections)
      profile = '{"customer_id":"' .. listed[1][1] .. '",' .. table.concat(sections, ',') .. '}'
    end
  end
  local match = #listed == 0 and 'none' or #listed == 1 and 'single' or 'ambiguous'
  return '{"match":"' .. match .. '","generation":"' .. generation .. '","customers":['
    .. table.concat(entries, ',') .. '],"profile":' .. profile .. '}'
end

redis.register_function{ function_name = 'scv_load', callback = load, flags = { 'no-writes' } }
redis.register_function('scv_commit', commit)
redis.register_function('scv_idle', idle)
redis.register_function('scv_close', close)
redis.register_function{ function_name = 'scv_members', callback = members, flags = { 'no-writes' } }
redis.register_function('scv_note', note)
redis.register_function('scv_put', put)
redis.register_function('scv_index', index)
redis.register_function{ function_name = 'scv_lookup', callback = lookup, flags = { 'no-writes' } }
