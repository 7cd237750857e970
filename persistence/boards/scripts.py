"""The leaderboards' scripts: what `ranks.Ranks` does, in Redis, each in one piece.

The keys of a board, all in one slot by its name in braces:

    ranks, users             the sorted set of entries; for each user (8 bytes) the member that is theirs
    about                    run: of which server's run the board is complete; filled: when (epoch ms), 0 where it is to
                             be filled again, for a place became free and who comes next is not known here: whoever was
                             told of it may be about to end, or to rest from a filling that was another one's;
                             floor, last: score and member of the worst entry that it has had room for;
                             any: whether there are entries
    filling                  the token of whoever reads the board from the store, for as long as that one lives
    next-ranks, next-users   the board that is being filled; it takes the place of the old one when it is complete, and
                             ends after an hour where it never is
    touched                  users that something was submitted of meanwhile: what the filling reads of them may be old;
                             and an empty name, from the beginning

A server that is full may drop any of these. So a board is taken for complete only if its parts fit together, and a
filling ends well only if nothing of it was lost.

Members are compared byte by byte: Lua's own comparison follows the server's locale, Redis' order does not.
"""

from __future__ import annotations

from persistence.redis import Script

KEYS = ("ranks", "users", "about", "filling", "next-ranks", "next-users", "touched")

_COMMON = """\
local RANKS, USERS, ABOUT, FILLING = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NEXT_RANKS, NEXT_USERS, TOUCHED = KEYS[5], KEYS[6], KEYS[7]
local function better(score, member, other_score, other)
  if score ~= other_score then return score < other_score end
  for i = 1, math.min(#member, #other) do
    local x, y = member:byte(i), other:byte(i)
    if x ~= y then return x < y end
  end
  return false
end
local function remove(ranks, users, user)
  local member = redis.call('HGET', users, user)
  if not member then return false end
  redis.call('ZREM', ranks, member)
  redis.call('HDEL', users, user)
  return true
end
local function insert(ranks, users, user, score, member)
  remove(ranks, users, user)
  redis.call('ZADD', ranks, score, member)
  redis.call('HSET', users, user, member)
end
local function cut(ranks, users, first)
  local worst = redis.call('ZRANGE', ranks, first, -1)
  for _, member in ipairs(worst) do
    redis.call('HDEL', users, member:sub(17, 24))
  end
  if #worst > 0 then redis.call('ZREMRANGEBYRANK', ranks, first, -1) end
  return #worst > 0
end
local function trim(ranks, users, top)
  if not cut(ranks, users, top) then return end
  return redis.call('ZRANGE', ranks, -1, -1, 'WITHSCORES')
end
local function keep_next()
  for i = 5, 7 do redis.call('PEXPIRE', KEYS[i], 3600000) end
end
local function mark()
  if redis.call('EXISTS', RANKS) == 1 then redis.call('HSET', ABOUT, 'any', 1) else redis.call('HDEL', ABOUT, 'any') end
end
local function about()
  local known = redis.call('HMGET', ABOUT, 'run', 'filled', 'floor', 'last', 'any')
  local size = redis.call('ZCARD', RANKS)
  local whole = size == redis.call('HLEN', USERS) and (size > 0 or not known[5])
  return whole and known[1] or '', tonumber(known[2] or 0), known[3] and tonumber(known[3]), known[4]
end
"""

SUBMIT = Script(
    _COMMON
    + """\
-- ARGV: top, then for each: user, session, score, member (both empty: no best is left)
-- gives: run, filled, floor, last, whether it is being filled, whether there is a hole, then of all the ranks or -1 as
-- one text: each value by itself is dear to read
local run, filled, floor, last = about()
local live, filling = run ~= '', redis.call('EXISTS', FILLING) == 1
local hole = 0
local function submit(ranks, users, user, session, score, member, floor, last)
  local old = redis.call('HGET', users, user)
  if old and old:sub(1, 16) == session and old ~= member then
    remove(ranks, users, user)
    old = false
    if floor then hole = 1 end
  end
  if member == '' then return end
  if old and not better(score, member, tonumber(redis.call('ZSCORE', ranks, old)), old) then return end
  if floor and better(floor, last, score, member) then return end
  insert(ranks, users, user, score, member)
  hole = 0
end
local holes = 0
for i = 2, #ARGV, 4 do
  local user, session, score, member = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  hole = 0
  if live then submit(RANKS, USERS, user, session, score, member, floor, last) end
  holes = math.max(holes, hole)
  if filling then
    redis.call('SADD', TOUCHED, user)
    submit(NEXT_RANKS, NEXT_USERS, user, session, score, member)
  end
end
if filling then keep_next() end
if live then
  local worst = trim(RANKS, USERS, tonumber(ARGV[1]))
  if worst then
    last, floor = worst[1], tonumber(worst[2])
    redis.call('HSET', ABOUT, 'floor', worst[2], 'last', last)
  end
  if holes == 1 then redis.call('HSET', ABOUT, 'filled', 0) end
  mark()
end
local places = {}
for i = 2, #ARGV, 4 do
  places[#places + 1] = ARGV[i + 3] ~= '' and redis.call('ZRANK', RANKS, ARGV[i + 3]) or -1
end
floor = floor and string.format('%d', floor) or ''
return {run, filled, floor, last or '', filling and 1 or 0, holes, table.concat(places, ' ')}
"""
)

PAGE = Script(
    _COMMON
    + """\
-- ARGV: offset, count; gives: run, filled, size, offset, entries
local run, filled = about()
local offset = tonumber(ARGV[1])
local entries = redis.call('ZRANGE', RANKS, offset, offset + tonumber(ARGV[2]) - 1, 'WITHSCORES')
return {run, filled, redis.call('ZCARD', RANKS), offset, entries}
"""
)

AROUND = Script(
    _COMMON
    + """\
-- ARGV: user, entries before theirs, count; gives as PAGE does
local run, filled = about()
local size = redis.call('ZCARD', RANKS)
local member = redis.call('HGET', USERS, ARGV[1])
if not member then return {run, filled, size, 0, {}} end
local offset = math.max(0, redis.call('ZRANK', RANKS, member) - tonumber(ARGV[2]))
local entries = redis.call('ZRANGE', RANKS, offset, offset + tonumber(ARGV[3]) - 1, 'WITHSCORES')
return {run, filled, size, offset, entries}
"""
)

REMOVE = Script(
    _COMMON
    + """\
-- ARGV: user; gives whether there is a hole
local run, _, floor = about()
local gone = remove(RANKS, USERS, ARGV[1])
if run ~= '' then mark() end
if redis.call('EXISTS', FILLING) == 1 then
  redis.call('SADD', TOUCHED, ARGV[1])
  remove(NEXT_RANKS, NEXT_USERS, ARGV[1])
end
if not gone or not floor then return 0 end
redis.call('HSET', ABOUT, 'filled', 0)
return 1
"""
)

BEGIN = Script(
    _COMMON
    + """\
-- ARGV: token, ms; gives whether it is ours to fill, whether the board has a floor
if not redis.call('SET', FILLING, ARGV[1], 'NX', 'PX', ARGV[2]) then return {0, 0} end
redis.call('UNLINK', NEXT_RANKS, NEXT_USERS, TOUCHED)
redis.call('SADD', TOUCHED, '')
keep_next()
local _, _, floor = about()
return {1, floor and 1 or 0}
"""
)

FILL = Script(
    _COMMON
    + """\
-- ARGV: token, ms, then for each: user, score, member; gives whether it is still ours
if redis.call('GET', FILLING) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', FILLING, ARGV[2])
for i = 3, #ARGV, 3 do
  local user, score, member = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if redis.call('SISMEMBER', TOUCHED, user) == 0 then
    local old = redis.call('HGET', NEXT_USERS, user)
    if not old or better(score, member, tonumber(redis.call('ZSCORE', NEXT_RANKS, old)), old) then
      insert(NEXT_RANKS, NEXT_USERS, user, score, member)
    end
  end
end
keep_next()
return 1
"""
)

END = Script(
    _COMMON
    + """\
-- ARGV: token, top, run, now, until when it is kept or '', users read, floor and last or ''
-- gives the size; -1: it is not ours, or a part of it was lost
if redis.call('GET', FILLING) ~= ARGV[1] then return -1 end
local size, touched = redis.call('ZCARD', NEXT_RANKS), redis.call('SCARD', TOUCHED) - 1
if size ~= redis.call('HLEN', NEXT_USERS) or redis.call('SISMEMBER', TOUCHED, '') == 0
    or size + touched < tonumber(ARGV[6]) then
  return -1
end
local floor, last = ARGV[7], ARGV[8]
if floor ~= '' then
  local first = redis.call('ZCOUNT', NEXT_RANKS, '-inf', '(' .. floor)
  local score = tonumber(floor)
  for _, member in ipairs(redis.call('ZRANGE', NEXT_RANKS, floor, floor, 'BYSCORE')) do
    if not better(score, last, score, member) then first = first + 1 end
  end
  cut(NEXT_RANKS, NEXT_USERS, first)
end
local worst = trim(NEXT_RANKS, NEXT_USERS, tonumber(ARGV[2]))
if worst then last, floor = worst[1], worst[2] end
local filled = ARGV[4]
if floor ~= '' and redis.call('ZCARD', NEXT_RANKS) < tonumber(ARGV[2]) then filled = 0 end
redis.call('UNLINK', RANKS, USERS, ABOUT)
if redis.call('EXISTS', NEXT_RANKS) == 1 then
  redis.call('RENAME', NEXT_RANKS, RANKS)
  redis.call('RENAME', NEXT_USERS, USERS)
end
redis.call('HSET', ABOUT, 'run', ARGV[3], 'filled', filled)
mark()
if floor ~= '' then redis.call('HSET', ABOUT, 'floor', floor, 'last', last) end
redis.call('UNLINK', FILLING, TOUCHED)
for i = 1, 3 do
  redis.call('PERSIST', KEYS[i])
  if ARGV[5] ~= '' then redis.call('PEXPIREAT', KEYS[i], ARGV[5]) end
end
return redis.call('ZCARD', RANKS)
"""
)

ABANDON = Script(
    _COMMON
    + """\
-- ARGV: token
if redis.call('GET', FILLING) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', FILLING, NEXT_RANKS, NEXT_USERS, TOUCHED)
"""
)
