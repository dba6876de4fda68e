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

-- One command for up to so many values: Lua's stack holds about 8,000, and one fact can change more nodes than that.
local AT_ONCE = 1000

local function in_portions(command, key, values)
  for first = 1, #values, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #values)
    if key then
      redis.call(command, key, unpack(values, first, last))
    else
      redis.call(command, unpack(values, first, last))
    end
  end
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
  in_portions('MSET', nil, values)
  in_portions('HSET', keys[2], marks)
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
-- write of that name, which must be the one that is stored. Any state but live is a tombstone: the sections go. A section
-- named `+CUT name` is a list that grows: entries that go in front of those stored, of which the last CUT bytes go.
local function write_one(key, new, founder, writer, base, state, sections)
  local stored = redis.call('HMGET', key, 'version', 'founder', 'writer')
  if stored[1] then
    if stored[2] ~= founder then return 'founder ' .. stored[2] end
    local position, revisions = version(stored[1])
    local new_position, new_revisions = version(new)
    if position == new_position and revisions == new_revisions then return 'equal' end
    if position > new_position or (position == new_position and revisions > new_revisions) then return 'older' end
  end
  if base ~= '' and stored[3] ~= base then return 'base' end
  for i = 1, #sections, 2 do
    local cut, name = string.match(sections[i], '^%+(%d+) (.+)$')
    if cut then
      local held = base ~= '' and redis.call('HGET', key, name)
      if not held or #held <= cut + 2 then return 'base' end
      sections[i], sections[i + 1] = name, '[' .. sections[i + 1] .. ',' .. string.sub(held, 2, -2 - cut) .. ']'
    end
  end
  if state ~= 'live' then redis.call('DEL', key) end
  redis.call('HSET', key, 'version', new, 'founder', founder, 'state', state, 'writer', writer, unpack(sections))
  return 'newer'
end

-- KEYS = profile…  ARGV per key: version, founder, writer, base, state, number of sections, then name and JSON of each.
-- Gives per key: newer, equal, older, base (send all sections), or 'founder X' (another one holds this id).
local function write(keys, args)
  local answers, at = {}, 1
  for i = 1, #keys do
    local sections, count = {}, tonumber(args[at + 5])
    for j = 1, 2 * count do sections[j] = args[at + 5 + j] end
    answers[i] = write_one(keys[i], args[at], args[at + 1], args[at + 2], args[at + 3], args[at + 4], sections)
    at = at + 6 + 2 * count
  end
  return answers
end

-- The same profile, derived by other settings: KEYS = profile…  ARGV per key: version, founder, writer, number of sections, then
-- name and JSON of each. Written only where the stored version is this one; gives per key 1, or 0.
local function rewrite(keys, args)
  local answers, at = {}, 1
  for i = 1, #keys do
    local sections, count = {}, tonumber(args[at + 3])
    for j = 1, 2 * count do sections[j] = args[at + 3 + j] end
    local stored = redis.call('HMGET', keys[i], 'version', 'founder', 'state')
    local same = stored[1] == args[at] and stored[2] == args[at + 1] and stored[3] == 'live'
    if same then redis.call('HSET', keys[i], 'writer', args[at + 2], unpack(sections)) end
    answers[i] = same and 1 or 0
    at = at + 4 + 2 * count
  end
  return answers
end

-- What the identity writer has found out: KEYS = member or ids…  ARGV per key: stamp, value. A later stamp stays.
local function place(keys, args)
  for i = 1, #keys do
    local stored, stamp, value = redis.call('GET', keys[i]), args[2 * i - 1], args[2 * i]
    local before = stored and (string.match(stored, '^%[(%d+)') or string.match(stored, '^{"stamp":(%d+)'))
    if not before or tonumber(before) <= tonumber(stamp) then redis.call('SET', keys[i], value) end
  end
  return #keys
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

-- Look-ups. How many names one may ask for at once, how many customers an answer shows and reasons of each, and how many
-- tombstones are followed; `api.lookup` has the same.
local NAMES_MAX, SHOWN_MAX, REASONS_MAX, HOPS_MAX = 20, 20, 20, 4

-- Whom a name leads to: {customer id, status} of each.
local function entry_of(prefix, name)
  local entry, customers = redis.call('GET', prefix .. '{' .. name .. '}:ids'), {}
  for id, status in string.gmatch(entry or '', '"customer_id":"([^"]+)","status":"([^"]+)"') do
    customers[#customers + 1] = { id, status }
  end
  return customers
end

-- Adds to `now` whom a customer id stands for by now: itself, or, if it is a tombstone, who holds its founder. An id that its
-- own founder leads to has a profile that is yet to come. Gives the founder of a tombstone.
local function follow(prefix, id, now, seen, hops)
  if seen[id] then return nil end
  seen[id] = true
  local head = redis.call('HMGET', prefix .. '{' .. id .. '}:profile', 'state', 'founder')
  if not head[1] or head[1] == 'live' then
    now[#now + 1] = id
    return nil
  end
  for _, one in ipairs(hops < HOPS_MAX and entry_of(prefix, head[2]) or {}) do
    if one[2] == 'linking' then
      if one[1] == id then now[#now + 1] = id else follow(prefix, one[1], now, seen, hops + 1) end
    end
  end
  return head[2]
end

local function is_id(kind, value)
  return kind == 'customer' and #value == 20 and string.match(value, '^cus_[0-9A-HJKMNP-TV-Z]+$') ~= nil
end

-- All that a name leads to: {customer id, status, subject it goes through or false} of each.
local function customers_of(prefix, kind, value, merged)
  local name, found = kind .. ':' .. value, {}
  local function add(customer, status, through)
    local now = {}
    follow(prefix, customer, now, {}, 0)
    for _, id in ipairs(now) do found[#found + 1] = { id, status, through } end
  end
  if is_id(kind, value) then
    if not redis.call('HGET', prefix .. '{' .. value .. '}:profile', 'state') then return found end
    local now = {}
    local founder = follow(prefix, value, now, {}, 0)
    for _, id in ipairs(now) do found[#found + 1] = { id, 'linking', id ~= value and founder } end
    if #now == 1 and now[1] ~= value then merged[#merged + 1] = cjson.encode(value) .. ':"' .. now[1] .. '"' end
    return found
  end
  for _, one in ipairs(entry_of(prefix, name)) do add(one[1], one[2], false) end
  local subjects, different, known = redis.call('SMEMBERS', prefix .. '{' .. name .. '}:of'), 0, {}
  table.sort(subjects)
  for _, subject in ipairs(subjects) do
    for _, one in ipairs(entry_of(prefix, subject)) do
      add(one[1], one[2], subject)
      if not known[one[1]] then different, known[one[1]] = different + 1, true end
    end
    if different >= SHOWN_MAX then break end
  end
  return found
end

-- One customer's reasons, and what it is ranked by: how many names lead there, whether one of them links.
local function note_reason(customers, listed, name, one)
  local id, status, through = one[1], one[2], one[3]
  local customer = customers[id]
  if not customer then
    customer = { id = id, reasons = {}, known = {}, names = 0, status = status }
    customers[id], listed[#listed + 1] = customer, customer
  end
  if customer.last ~= name then customer.last, customer.names = name, customer.names + 1 end
  if status == 'linking' then customer.status = status end
  local reason = '{"via":' .. cjson.encode(name) .. ',"through":' .. (through and cjson.encode(through) or 'null')
    .. ',"status":"' .. status .. '"}'
  if #customer.reasons < REASONS_MAX and not customer.known[reason] then
    customer.reasons[#customer.reasons + 1], customer.known[reason] = reason, true
  end
end

local function ranked(a, b)
  if a.names ~= b.names then return a.names > b.names end
  if (a.status == 'linking') ~= (b.status == 'linking') then return a.status == 'linking' end
  return a.id < b.id
end

-- The profile as JSON; nil when it is not there (yet).
local function profile_of(prefix, id)
  local stored, sections = redis.call('HGETALL', prefix .. '{' .. id .. '}:profile'), {}
  for i = 1, #stored, 2 do
    local field, value = stored[i], stored[i + 1]
    if field == 'state' and value ~= 'live' then return nil end
    if field == 'version' or field == 'state' or field == 'founder' then value = cjson.encode(value) end
    if field ~= 'writer' then sections[#sections + 1] = '"' .. field .. '":' .. value end
  end
  if #sections == 0 then return nil end
  table.sort(sections)
  return '{"customer_id":"' .. id .. '",' .. table.concat(sections, ',') .. '}'
end

local function answer(match, generation, customers, merged, unknown, profile)
  return '{"match":"' .. match .. '","generation":' .. (generation and cjson.encode(generation) or 'null')
    .. ',"customers":[' .. table.concat(customers, ',') .. '],"merged_into":{' .. table.concat(merged, ',')
    .. '},"unknown":[' .. table.concat(unknown, ',') .. '],"profile":' .. (profile or 'null') .. '}'
end

-- Public: FCALL_RO scv_lookup 1 scv TYPE VALUE [TYPE VALUE …]  (values normalised: docs/redis.md). One Redis only, since it
-- follows keys. Gives JSON: match, generation, customers, merged_into, unknown, profile; `single` if all names that lead
-- anywhere lead to one customer and to no other.
local function lookup(keys, args)
  if #keys ~= 1 or #args == 0 or #args % 2 == 1 or #args > 2 * NAMES_MAX then
    return redis.error_reply('ERR scv_lookup wants: 1 scv TYPE VALUE [TYPE VALUE ...], at most ' .. NAMES_MAX .. ' pairs')
  end
  local active = redis.call('GET', keys[1] .. ':active')
  local generation = active and string.match(active, '^(%S+)')
  local customers, listed, merged, unknown, asked = {}, {}, {}, {}, {}
  for i = 1, #args, 2 do
    local name = is_id(args[i], args[i + 1]) and args[i + 1] or args[i] .. ':' .. args[i + 1]
    if not asked[name] then
      asked[name] = true
      local prefix = generation and keys[1] .. ':' .. generation .. ':'
      local found = prefix and customers_of(prefix, args[i], args[i + 1], merged) or {}
      if #found == 0 then unknown[#unknown + 1] = cjson.encode(name) end
      for _, one in ipairs(found) do note_reason(customers, listed, name, one) end
    end
  end
  table.sort(listed, ranked)
  local shown = {}
  for i = 1, math.min(#listed, SHOWN_MAX) do
    shown[i] = '{"customer_id":"' .. listed[i].id .. '","status":"' .. listed[i].status .. '","reasons":['
      .. table.concat(listed[i].reasons, ',') .. ']}'
  end
  if #listed > 1 then return answer('ambiguous', generation, shown, merged, unknown) end
  local profile = #listed == 1 and profile_of(keys[1] .. ':' .. generation .. ':', listed[1].id)
  if profile then return answer('single', generation, shown, merged, unknown, profile) end
  return answer('none', generation, {}, merged, unknown)
end

-- A plain look-up in one round trip, for `stores.serving`: FCALL_RO scv_find 1 scv COUNT NAME… FIELD…  Gives what is active,
-- then each name's entry and how many subjects named it, and, if the entries lead to one customer and no name is a reference,
-- its id and these fields of its profile.
local function find(keys, args)
  local active = redis.call('GET', keys[1] .. ':active')
  if not active then return {} end
  local prefix, count = keys[1] .. ':' .. string.match(active, '^(%S+)') .. ':', tonumber(args[1])
  local found, only, plain = { active }, nil, true
  for i = 2, count + 1 do
    local name = prefix .. '{' .. args[i] .. '}'
    local entry, subjects = redis.call('GET', name .. ':ids'), redis.call('SCARD', name .. ':of')
    found[#found + 1], found[#found + 2] = entry, subjects
    plain = plain and subjects == 0
    for id in string.gmatch(entry or '', '"customer_id":"([^"]+)"') do
      plain, only = plain and (not only or only == id), id
    end
  end
  if plain and only then
    found[#found + 1] = only
    found[#found + 1] = redis.call('HMGET', prefix .. '{' .. only .. '}:profile', unpack(args, count + 2))
  end
  return found
end

redis.register_function{ function_name = 'scv_load', callback = load, flags = { 'no-writes' } }
redis.register_function('scv_commit', commit)
redis.register_function('scv_idle', idle)
redis.register_function('scv_close', close)
redis.register_function{ function_name = 'scv_members', callback = members, flags = { 'no-writes' } }
redis.register_function('scv_note', note)
redis.register_function('scv_write', write)
redis.register_function('scv_rewrite', rewrite)
redis.register_function('scv_place', place)
redis.register_function('scv_index', index)
redis.register_function{ function_name = 'scv_lookup', callback = lookup, flags = { 'no-writes' } }
redis.register_function{ function_name = 'scv_find', callback = find, flags = { 'no-writes' } }
