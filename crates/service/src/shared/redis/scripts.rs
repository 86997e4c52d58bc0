//! The scripts by which nodes share: each is one step that no other node sees half of.
//!
//! All keys of a script have the store's prefix and with it one slot. Time is the server's. Numbers that only rise begin with the
//! time where the server has forgotten them, so that they rise over a loss of all data too.

use std::sync::LazyLock;

use crate::store::Script;

/// The time in milliseconds since 1970, as `now`.
macro_rules! now {
    () => {
        "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
    };
}

/// The position of the last change, as `position`: where there is none, the time, for a month, and without changes.
macro_rules! position {
    () => {
        concat!(
            now!(),
            "local position = tonumber(redis.call('GET', KEYS[1]) or '') \
             if not position then position = now redis.call('DEL', KEYS[2]) \
             redis.call('SET', KEYS[1], string.format('%.0f', position), 'EX', 2592000) end "
        )
    };
}

/// Forgets some things whose time is over: `index` has when, `sizes` how much room each takes, `total` the sum. Whoever counts them
/// by their callers has `owe` before.
macro_rules! sweep {
    () => {
        "local function forget(index, sizes, total, name) \
         local size = tonumber(redis.call('HGET', sizes, name) or 0) \
         local was = redis.call('ZREM', index, name) redis.call('HDEL', sizes, name) \
         if size ~= 0 then redis.call('DECRBY', total, size) end \
         if owe then owe(name, -was, -size) end end \
         local function sweep(index, sizes, total) \
         for _, name in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 100)) do \
         forget(index, sizes, total, name) end end "
    };
}

/// Counts by callers, in the hash `$owners`, what their sessions have: `owe` adds a number of things and of bytes to what the caller
/// of a session has, and `owned` returns one of the two, `'n'` or `'b'`. `$owner` gives the caller of a name: the first half of a session's
/// number, or nothing.
macro_rules! owners {
    ($owners:literal, $owner:literal) => {
        concat!(
            "local function owner(name) ",
            $owner,
            " end local function add(field, more) \
             if more ~= 0 and redis.call('HINCRBY', ",
            $owners,
            ", field, more) <= 0 then redis.call('HDEL', ",
            $owners,
            ", field) end end \
             local function owe(name, count, bytes) local whose = owner(name) \
             if whose then add('n' .. whose, count) add('b' .. whose, bytes) end end \
             local function owned(name, what) local whose = owner(name) \
             return whose and tonumber(redis.call('HGET', ",
            $owners,
            ", what .. whose) or 0) or 0 end "
        )
    };
}

/// The caller of the session that a topic belongs to, by its name.
macro_rules! of_topic {
    ($owners:literal) => {
        owners!(
            $owners,
            "local whose = string.match(name, '^topic:[as]:(' .. string.rep('%x', 16) .. ')') \
             return whose ~= string.rep('0', 16) and whose"
        )
    };
}

/// The caller of a session, by its number, and what forgets sessions whose time is over.
macro_rules! sessions {
    () => {
        concat!(
            now!(),
            owners!(
                "KEYS[5]",
                "local whose = string.sub(name, 1, 8) return whose ~= string.rep('\\0', 8) and whose"
            ),
            "for _, session in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now / 1000, 'LIMIT', 0, 100)) do \
             local old = redis.call('HGET', KEYS[2], session) \
             if old then redis.call('DECRBY', KEYS[3], #old) owe(session, -1, -#old) end \
             redis.call('HDEL', KEYS[2], session) redis.call('ZREM', KEYS[1], session) end "
        )
    };
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $source:expr;)*) => {
        $($(#[$doc])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new($source));)*
    };
}

scripts! {
    /// Appends a change for everybody. Keys: position, list, channel. Arguments: message, most messages, positions to leave out,
    /// seconds to keep.
    ANNOUNCE = concat!(
        position!(),
        "if ARGV[3] ~= '0' then redis.call('DEL', KEYS[2]) end \
         position = position + 1 + ARGV[3] \
         local text = string.format('%.0f', position) \
         redis.call('SET', KEYS[1], text) redis.call('EXPIRE', KEYS[1], 2592000) \
         redis.call('RPUSH', KEYS[2], ARGV[1]) redis.call('LTRIM', KEYS[2], -ARGV[2], -1) \
         redis.call('EXPIRE', KEYS[2], ARGV[4]) \
         redis.call('PUBLISH', KEYS[3], 'c' .. text .. ':' .. ARGV[1]) \
         return position"
    );
    /// Reads the changes that are kept. Keys: position, list. Returns the last position and the messages up to it.
    CHANGES = concat!(position!(), "return {string.format('%.0f', position), redis.call('LRANGE', KEYS[2], 0, -1)}");

    /// Ends a session. Keys: index, values, bytes, channel, owners. Arguments: session, when it expires (seconds), most sessions,
    /// message, most sessions of a caller. Returns 1, 0 when it was ended before, -1 without room, -2 when its caller has none.
    END = concat!(
        sessions!(),
        "local old = redis.call('HGET', KEYS[2], ARGV[1]) \
         if old == 'e' then return 0 end \
         if not old and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end \
         if not old and owned(ARGV[1], 'n') >= tonumber(ARGV[5]) then return -2 end \
         local more = 1 - #(old or '') \
         redis.call('INCRBY', KEYS[3], more) owe(ARGV[1], old and 0 or 1, more) \
         redis.call('HSET', KEYS[2], ARGV[1], 'e') redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) \
         redis.call('PUBLISH', KEYS[4], ARGV[4]) \
         return 1"
    );
    /// Puts what a session set in the place of what it was. Keys: index, values, bytes, channel, owners. Arguments: session, when it
    /// expires (seconds), most sessions, what it was, what it is, message, most bytes, most sessions and most bytes of a caller.
    /// Returns 1, 0 when it was something else, -1 without room, -2 when its caller has none.
    SET = concat!(
        sessions!(),
        "local old = redis.call('HGET', KEYS[2], ARGV[1]) or '' \
         if old ~= ARGV[4] then return 0 end \
         if old == '' and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end \
         if old == '' and owned(ARGV[1], 'n') >= tonumber(ARGV[8]) then return -2 end \
         local more = #ARGV[5] - #old \
         if more > 0 and tonumber(redis.call('GET', KEYS[3]) or 0) + more > tonumber(ARGV[7]) then return -1 end \
         if more > 0 and owned(ARGV[1], 'b') + more > tonumber(ARGV[9]) then return -2 end \
         redis.call('INCRBY', KEYS[3], more) owe(ARGV[1], old == '' and 1 or 0, more) \
         redis.call('HSET', KEYS[2], ARGV[1], ARGV[5]) redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) \
         redis.call('PUBLISH', KEYS[4], ARGV[6]) \
         return 1"
    );
    /// Reads what is known of a session. Keys: values. Arguments: session.
    SESSION = "return redis.call('HGET', KEYS[1], ARGV[1])";
    /// Reads some sessions. Keys: values, index. Arguments: where to go on, how many. Returns where to go on, and for each the
    /// session, its value and when it expires.
    SESSIONS = "local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]) local found = {} \
        for at = 1, #page[2], 2 do local session = page[2][at] \
        table.insert(found, session) table.insert(found, page[2][at + 1]) \
        table.insert(found, redis.call('ZSCORE', KEYS[2], session) or '0') end \
        return {page[1], found}";

    /// Opens a topic. Keys: topic, index, sizes, total, topics of the session, owners. Arguments: name, most messages, most bytes, how
    /// long it is kept closed and at most (ms), most topics, most bytes of all, most of one session, whether it belongs to one, most
    /// topics and most bytes of a caller. Returns 1, 0 without room, or -2 when its session or caller has none.
    OPEN = concat!(
        now!(),
        of_topic!("KEYS[6]"),
        sweep!(),
        "if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end \
         sweep(KEYS[2], KEYS[3], KEYS[4]) \
         forget(KEYS[2], KEYS[3], KEYS[4], ARGV[1]) \
         if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return 0 end \
         if tonumber(redis.call('GET', KEYS[4]) or 0) >= tonumber(ARGV[7]) then return 0 end \
         if ARGV[9] == '1' then \
         redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now) \
         if redis.call('ZCARD', KEYS[5]) >= tonumber(ARGV[8]) then return -2 end \
         if owned(ARGV[1], 'n') >= tonumber(ARGV[10]) or owned(ARGV[1], 'b') >= tonumber(ARGV[11]) then return -2 end \
         redis.call('ZADD', KEYS[5], now + ARGV[5], ARGV[1]) \
         if redis.call('PTTL', KEYS[5]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[5], ARGV[5]) end end \
         redis.call('HSET', KEYS[1], 'messages', ARGV[2], 'bytes', ARGV[3], 'closed-for', ARGV[4], 'last', 0, 'used', 0) \
         redis.call('PEXPIRE', KEYS[1], ARGV[5]) \
         redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[1]) owe(ARGV[1], 1, 0) \
         return 1"
    );
    /// Appends to a topic. Keys: topic, list, sizes, total, channel, owners. Arguments: name, message, what sealing adds to each, most
    /// bytes of all, most of a caller. Returns the position, or 0 when it is not open.
    APPEND = concat!(of_topic!("KEYS[6]"), "local topic = redis.call('HMGET', KEYS[1], 'messages', 'bytes', 'last', 'used', 'closed') \
        if not topic[1] or topic[5] then return 0 end \
        local size = #ARGV[2] - ARGV[3] \
        local last, used = topic[3] + 1, topic[4] + size \
        redis.call('RPUSH', KEYS[2], ARGV[2]) \
        local most = tonumber(topic[2]) \
        if tonumber(redis.call('GET', KEYS[4]) or 0) + size >= tonumber(ARGV[4]) then most = 0 end \
        if owned(ARGV[1], 'b') + size >= tonumber(ARGV[5]) then most = 0 end \
        local count = redis.call('LLEN', KEYS[2]) \
        while count > math.max(tonumber(topic[1]), 1) or (used > most and count > 1) do \
        used = used - (#redis.call('LPOP', KEYS[2]) - ARGV[3]) count = count - 1 end \
        redis.call('HSET', KEYS[1], 'last', last, 'used', used) \
        redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1])) \
        redis.call('HINCRBY', KEYS[3], ARGV[1], used - topic[4]) redis.call('INCRBY', KEYS[4], used - topic[4]) \
        owe(ARGV[1], 0, used - topic[4]) \
        redis.call('PUBLISH', KEYS[5], last) \
        return last");
    /// Closes a topic. Keys: topic, list, index, sizes, total, topics of the session, channel, owners. Arguments: name.
    CLOSE = concat!(
        now!(),
        of_topic!("KEYS[8]"),
        sweep!(),
        "local keep = redis.call('HGET', KEYS[1], 'closed-for') \
         if not keep then return 0 end \
         keep = math.min(tonumber(keep), math.max(redis.call('PTTL', KEYS[1]), 0)) \
         if keep == 0 then \
         redis.call('DEL', KEYS[1], KEYS[2]) \
         forget(KEYS[3], KEYS[4], KEYS[5], ARGV[1]) \
         redis.call('ZREM', KEYS[6], ARGV[1]) \
         else \
         redis.call('HSET', KEYS[1], 'closed', 1) \
         redis.call('PEXPIRE', KEYS[1], keep) redis.call('PEXPIRE', KEYS[2], keep) \
         redis.call('ZADD', KEYS[3], now + keep, ARGV[1]) \
         if redis.call('ZSCORE', KEYS[6], ARGV[1]) then redis.call('ZADD', KEYS[6], now + keep, ARGV[1]) end end \
         redis.call('PUBLISH', KEYS[7], 'closed') \
         return 1"
    );
    /// Reads a topic. Keys: topic, list. Arguments: after which position (-1: nothing), most messages, most bytes. Returns nothing
    /// when it does not exist, else the last position, whether it is closed, the position before the first message, and messages.
    READ = "local topic = redis.call('HMGET', KEYS[1], 'last', 'closed') \
        if not topic[1] then return false end \
        local last, after = tonumber(topic[1]), tonumber(ARGV[1]) \
        local count = redis.call('LLEN', KEYS[2]) \
        if after == -1 then after = last elseif after > last then after = 0 end \
        after = math.max(after, last - count) \
        local found, bytes = {last, topic[2] and 1 or 0, after}, 0 \
        while after < last and #found < ARGV[2] + 3 and (bytes < tonumber(ARGV[3]) or #found == 3) do \
        local message = redis.call('LINDEX', KEYS[2], after - last + count) \
        if not message then break end \
        table.insert(found, message) bytes = bytes + #message after = after + 1 end \
        return found";

    /// Writes a cell. Keys: cell, index, sizes, total, version. Arguments: name, expected version, value, when it expires (ms), most
    /// cells, most bytes. Returns the version, 0 when it has another one, -1 without room.
    PUT = concat!(
        now!(),
        "local owe ",
        sweep!(),
        "local old = redis.call('GET', KEYS[1]) \
         local known = old and string.match(old, '^%d+') or '0' \
         if known ~= ARGV[2] then return 0 end \
         sweep(KEYS[2], KEYS[3], KEYS[4]) \
         local more = #ARGV[3] - tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0) \
         if not old and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return -1 end \
         if more > 0 and tonumber(redis.call('GET', KEYS[4]) or 0) + more > tonumber(ARGV[6]) then return -1 end \
         local version = redis.call('INCR', KEYS[5]) \
         if version == 1 then version = now * 1000 redis.call('SET', KEYS[5], string.format('%.0f', version)) end \
         if tonumber(ARGV[4]) <= now then \
         redis.call('DEL', KEYS[1]) forget(KEYS[2], KEYS[3], KEYS[4], ARGV[1]) \
         else \
         redis.call('SET', KEYS[1], string.format('%.0f', version) .. ':' .. ARGV[3]) \
         redis.call('PEXPIREAT', KEYS[1], ARGV[4]) \
         redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1]) \
         redis.call('HSET', KEYS[3], ARGV[1], #ARGV[3]) redis.call('INCRBY', KEYS[4], more) end \
         return version"
    );
    /// Removes a cell. Keys: cell, index, sizes, total. Arguments: name.
    REMOVE = concat!(
        "local now = 0 local owe ",
        sweep!(),
        "redis.call('DEL', KEYS[1]) forget(KEYS[2], KEYS[3], KEYS[4], ARGV[1]) return 1"
    );
}
