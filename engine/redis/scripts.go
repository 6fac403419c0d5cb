package redis

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
)

// script is one Lua script: Redis runs it as one step that nothing comes between,
// and copies what it wrote to replicas and to the append-only file as one, too.
type script struct{ source, sha string }

func newScript(publish, source string) script {
	source = strings.ReplaceAll(strings.TrimSpace(source), "PUBLISH", publish)
	sum := sha1.Sum([]byte(source))
	return script{source: source, sha: hex.EncodeToString(sum[:])}
}

type scripts struct {
	ensure, append, read, last, tails, delete script
	health, setRecord, dropRecord             script
	record, records                           script
}

// newScripts takes the command that publishes, SPUBLISH in a cluster, and whether the
// server loses nothing that it acknowledged.
func newScripts(publish string, lossless bool) scripts {
	history := historySource
	if lossless {
		history = "local history = ''\n"
	}
	return scripts{
		ensure:     newScript(publish, history+ensureSource),
		append:     newScript(publish, history+appendSource),
		read:       newScript(publish, history+fenceSource+readSource),
		last:       newScript(publish, history+fenceSource+lastSource),
		tails:      newScript(publish, history+fenceSource+tailsSource),
		delete:     newScript(publish, history+deleteSource),
		health:     newScript(publish, healthSource),
		setRecord:  newScript(publish, setRecordSource),
		dropRecord: newScript(publish, dropRecordSource),
		record:     newScript(publish, fenceSource+recordSource),
		records:    newScript(publish, fenceSource+recordsSource),
	}
}

// historySource names what a server has and knows to have: Redis takes another
// replication ID with every start and every promotion of a server, after which it may
// lack what was acknowledged before. It is the end of every epoch that leaves a script,
// so that positions and messages of another history are never taken for ones of this.
const historySource = `
local info = redis.call('INFO', 'replication')
local _, at = string.find(info, 'master_replid:', 1, true)
if not at then return redis.error_reply('ERR INFO replication has no master_replid, which tells what a restart or a failover may have lost') end
local history = string.sub(info, at + 1, at + 8)
`

// fenceSource lets a script that only reads fail where a write would: on a replica,
// and on a primary that lost the replicas which min-replicas-to-write demands. It
// deletes a key that never exists, which changes nothing and is not replicated. A
// server that refuses writes because of its disk may still answer.
const fenceSource = `
local fence = redis.pcall('DEL', KEYS[1])
if type(fence) == 'table' and fence.err and not string.find(fence.err, 'MISCONF', 1, true) then return fence end
`

// The meta hash of a log has, besides the spec z as text:
//
//	e  life       s  sequence of the newest entry      g  its tag
//	n  size       b  max bytes      w  1 for newest    t  milliseconds to live, 0 for ever
//	c  bytes of all entries ever    f  as c, before an entry that is not after the oldest kept
//
// An entry of the stream has the ID sequence-tag and the fields h, which is "tag of
// the predecessor, milliseconds, c with this entry", and d, its data. A log with
// entries always keeps one, so a meta hash without its stream (or the other way
// round) is what an eviction left: no log.

const ensureSource = `
local v = redis.call('HMGET', KEYS[1], 'e', 's', 'g', 'z', 't')
if v[1] and (v[2] == '0' or redis.call('XLEN', KEYS[2]) > 0) then
  if v[5] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], v[5])
    redis.call('PEXPIRE', KEYS[2], v[5])
  else
    redis.call('DEL', KEYS[5])
  end
  return {v[1] .. history, v[2], v[3], v[4]}
end
redis.call('HSET', KEYS[1], 'e', ARGV[2], 's', '0', 'g', '0', 'z', ARGV[3], 'n', ARGV[4], 'b', ARGV[5],
  'w', ARGV[6], 't', ARGV[7], 'c', '0', 'f', '0')
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
if ARGV[7] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[7]) else redis.call('PERSIST', KEYS[1]) end
if v[1] then redis.call('PUBLISH', ARGV[1], v[1] .. history) end
return {ARGV[2] .. history, '0', '0', ARGV[3]}
`

// Every refusal comes before the first write, and the first write is one that Redis
// refuses when it is out of memory: all items are stored, or none.
const appendSource = `
local v = redis.call('HMGET', KEYS[1], 'e', 's', 'g', 'n', 'b', 't', 'c', 'f')
if not v[1] or (v[2] ~= '0' and redis.call('XLEN', KEYS[2]) == 0) then
  redis.call('DEL', KEYS[5])
  return {'none'}
end
local epoch, seq, tag, size, ttl = v[1] .. history, tonumber(v[2]), v[3], v[4], v[6]
local bytes, total, floor = tonumber(v[5]), tonumber(v[7]), tonumber(v[8])

local known, ids = {}, 0
for i = 3, #ARGV, 3 do
  local id = ARGV[i]
  if #ARGV[i + 2] > bytes then return {'large', tostring((i - 3) / 3), v[5]} end
  if id ~= '' and known[id] == nil then
    known[id] = redis.call('HGET', KEYS[3], id) or redis.call('HGET', KEYS[4], id)
    if not known[id] then ids = ids + 1 end
  end
end
if ids > 0 then
  local have = redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4])
  if have + ids > tonumber(ARGV[2]) then return {'ids', tostring(have)} end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = string.format('%.0f', now)
local window = math.floor(now / 120000)
local fresh = KEYS[3 + window % 2]
local reply, news = {'ok', epoch}, {}
for i = 3, #ARGV, 3 do
  local id, data = ARGV[i], ARGV[i + 2]
  local place = id ~= '' and known[id]
  if not place then
    seq, total = seq + 1, total + #data
    local number, before = string.format('%.0f', seq), tag
    tag = ARGV[i + 1]
    redis.call('XADD', KEYS[2], 'MAXLEN', '=', size, number .. '-' .. tag,
      'h', before .. ' ' .. at .. ' ' .. string.format('%.0f', total), 'd', data)
    place = number .. '-' .. tag
    if id ~= '' then
      known[id] = place
      redis.call('HSET', fresh, id, place)
    end
    news[#news + 1] = epoch .. ' ' .. number .. ' ' .. tag .. ' ' .. before .. ' ' .. at .. '\n' .. data
  end
  reply[#reply + 1] = place
end
while total - floor > bytes do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  floor = tonumber(string.match(oldest[2][2], '%d+$')) - #oldest[2][4]
  if total - floor > bytes then redis.call('XDEL', KEYS[2], oldest[1]) end
end
redis.call('HSET', KEYS[1], 's', string.format('%.0f', seq), 'g', tag,
  'c', string.format('%.0f', total), 'f', string.format('%.0f', floor))
if ids > 0 then redis.call('PEXPIREAT', fresh, string.format('%.0f', (window + 2) * 120000), 'NX') end
if ttl ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ttl)
  redis.call('PEXPIRE', KEYS[2], ttl)
end
for i = 1, #news do redis.call('PUBLISH', ARGV[1], news[i]) end
return reply
`

const readSource = `
local v = redis.call('HMGET', KEYS[2], 'e', 's', 'g', 'w')
if not v[1] or (v[2] ~= '0' and redis.call('XLEN', KEYS[3]) == 0) then return {} end
local epoch = v[1] .. history
if ARGV[1] ~= epoch or tonumber(ARGV[2]) >= tonumber(v[2]) then return {epoch, v[2], v[3], v[4], {}} end
return {epoch, v[2], v[3], v[4], redis.call('XRANGE', KEYS[3], ARGV[3], '+', 'COUNT', ARGV[4])}
`

const lastSource = `
local v = redis.call('HMGET', KEYS[2], 'e', 's', 'g', 'w')
if not v[1] or (v[2] ~= '0' and redis.call('XLEN', KEYS[3]) == 0) then return {} end
local epoch = v[1] .. history
if ARGV[1] == '0' then return {epoch, v[2], v[3], v[4], {}} end
return {epoch, v[2], v[3], v[4], redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', ARGV[1])}
`

// tailsSource answers for KEYS[2], [3], for [4], [5] and so on; with ARGV[1] of 1 it
// also lets their time to live begin anew.
const tailsSource = `
local tails = {}
for i = 2, #KEYS, 2 do
  local v = redis.call('HMGET', KEYS[i], 'e', 's', 'g', 't')
  if not v[1] or (v[2] ~= '0' and redis.call('XLEN', KEYS[i + 1]) == 0) then
    v = {'', '0', '0', '0'}
  else
    v[1] = v[1] .. history
    if ARGV[1] == '1' and v[4] ~= '0' then
      redis.call('PEXPIRE', KEYS[i], v[4])
      redis.call('PEXPIRE', KEYS[i + 1], v[4])
    end
  end
  tails[#tails + 1] = v[1]
  tails[#tails + 1] = v[2]
  tails[#tails + 1] = v[3]
  tails[#tails + 1] = v[4]
end
return tails
`

const deleteSource = `
local epoch = redis.call('HGET', KEYS[1], 'e')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if epoch then redis.call('PUBLISH', ARGV[1], epoch .. history) end
return 1
`

// healthSource writes, and something that takes memory.
const healthSource = `
redis.call('SET', KEYS[1], '1', 'PX', 10000)
return 1
`

// The records of a prefix are a hash of them by node and a sorted set of when they
// expire, so that a list of them is one look. What has expired is swept by whoever
// sets one.
const setRecordSource = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local dead = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
for i = 1, #dead do
  redis.call('HDEL', KEYS[1], dead[i])
  redis.call('ZREM', KEYS[2], dead[i])
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
local ends = string.format('%.0f', last + 1000)
redis.call('PEXPIREAT', KEYS[1], ends)
redis.call('PEXPIREAT', KEYS[2], ends)
return 1
`

const dropRecordSource = `
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
`

const recordSource = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not ends or tonumber(ends) <= now then return {} end
local record = redis.call('HGET', KEYS[2], ARGV[1])
if not record then return {} end
return {record}
`

const recordsSource = `
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local all = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now, '+inf')) do
  local record = redis.call('HGET', KEYS[2], id)
  if record then
    all[#all + 1] = id
    all[#all + 1] = record
  end
end
return all
`
