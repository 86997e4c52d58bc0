//! What a statement may do, decided action by action while SQLite compiles it, and the bounds of every connection.

use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Result};
use trunkline_sql::Access;

use crate::gate::Gate;
use crate::gate::{OPS_BETWEEN_LOOKS, Verdict};

/// What a connection is for, which decides its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Statements of the file that read.
    Reading,
    /// Statements of the file that write.
    Writing,
    /// Statements of callers, which read.
    AdHoc,
}

impl Lane {
    /// What its statements may do.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Reading | Self::AdHoc => Access::ReadOnly,
            Self::Writing => Access::ReadWrite,
        }
    }

    /// Whose statements they are.
    pub(crate) fn of(access: Access, ad_hoc: bool) -> Self {
        match access {
            Access::ReadWrite => Self::Writing,
            Access::ReadOnly if ad_hoc => Self::AdHoc,
            Access::ReadOnly => Self::Reading,
        }
    }

    fn max_value(self) -> i32 {
        match self {
            Self::Reading | Self::Writing => MAX_VALUE,
            Self::AdHoc => MAX_VALUE_AD_HOC,
        }
    }
}

/// Pragmas that only tell something, and only without an argument.
const TELLING: [&str; 18] = [
    "application_id",
    "auto_vacuum",
    "collation_list",
    "compile_options",
    "data_version",
    "encoding",
    "foreign_key_check",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "integrity_check",
    "module_list",
    "page_count",
    "page_size",
    "quick_check",
    "schema_version",
    "table_list",
    "user_version",
];

/// Pragmas whose argument names what they tell of.
const TELLING_OF: [&str; 8] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Functions that reach beyond the database. Only the first two are in the library that is built in; the others come with
/// shells and extensions, and stay refused should a build ever bring them.
const REACHING: [&str; 8] = [
    "load_extension",
    "fts3_tokenizer",
    "readfile",
    "writefile",
    "edit",
    "fsdir",
    "lsdir",
    "sqlar_uncompress",
];

/// Functions known to give one value for one row, for what [`crate::describe`] concludes; `min` and `max` can be either.
const SCALAR: [&str; 34] = [
    "->",
    "->>",
    "abs",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "date",
    "datetime",
    "format",
    "glob",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json_extract",
    "julianday",
    "length",
    "like",
    "lower",
    "ltrim",
    "nullif",
    "quote",
    "replace",
    "round",
    "rtrim",
    "strftime",
    "substr",
    "substring",
    "time",
    "trim",
    "typeof",
    "unixepoch",
    "upper",
];

/// Most bytes of one value or row in a statement from the file.
const MAX_VALUE: i32 = 16 << 20;
/// The same in a statement from a caller: functions like `instr` work with the square of it, and nothing can stop a single
/// function call.
const MAX_VALUE_AD_HOC: i32 = 1 << 20;

/// Most bytes that SQLite may have allocated for all connections of the process together; at half of it, kept pages are used
/// again before there are more.
///
/// The bound on a value is looked at only when a value is finished: until then an aggregate of JSON grows without one, as do
/// sorters and the queues of recursive queries. Nothing but this stops them, and it has no form for one connection. What
/// grows by doubling meets it early, so it is the statement that grew that fails, and there is room for the others.
const MAX_HEAP: i64 = 96 << 20;

/// Most bytes of pages that a connection keeps, as SQLite has it: negative for KiB.
const PAGE_CACHE: i64 = -2048;

/// Puts every guard rail on a fresh connection, before the first statement.
pub(crate) fn harden(connection: &mut Connection, lane: Lane, gate: &Arc<Gate>) -> Result<()> {
    let access = lane.access();
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, lane.max_value()),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 200),
        (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 127),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 10_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.pragma_update(None, "hard_heap_limit", MAX_HEAP)?;
    connection.pragma_update(None, "soft_heap_limit", MAX_HEAP / 2)?;
    connection.pragma_update(None, "cache_size", PAGE_CACHE)?;
    // What a caller's statement cannot keep in memory it may not put on the disk either: temporary files have no bound. A
    // statement of the file may sort more than fits into memory.
    if lane == Lane::AdHoc {
        connection.pragma_update(None, "temp_store", "memory")?;
    }
    if access == Access::ReadOnly {
        connection.pragma_update(None, "query_only", true)?;
    }
    connection.set_prepared_statement_cache_capacity(256);
    let eye = Arc::clone(gate);
    connection.progress_handler(OPS_BETWEEN_LOOKS, Some(move || eye.verdict() != Verdict::Go))?;
    let eye = Arc::clone(gate);
    connection.busy_handler(Some(move |attempt| eye.wait_for_lock(attempt)))?;
    let eye = Arc::clone(gate);
    connection.authorizer(Some(move |context: AuthContext<'_>| authorize(&context, access, &eye)))
}

fn authorize(context: &AuthContext<'_>, access: Access, gate: &Gate) -> Authorization {
    if gate.is_trusted() {
        return Authorization::Allow;
    }
    match refusal(&context.action, access) {
        None => {
            gate.note(|notes| match context.action {
                AuthAction::Read { .. } => notes.reads_view |= context.accessor.is_some(),
                AuthAction::Function { function_name } => {
                    notes.may_aggregate |= !is_one_of(&SCALAR, function_name)
                }
                AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => {
                    notes.changes_rows = true
                }
                _ => {}
            });
            Authorization::Allow
        }
        Some(reason) => {
            gate.note(|notes| notes.refused = notes.refused.take().or(Some(reason)));
            Authorization::Deny
        }
    }
}

/// Why an action is refused: what the statement would do, to follow "the statement would ".
fn refusal(action: &AuthAction<'_>, access: Access) -> Option<String> {
    use AuthAction as A;
    let may_write = access == Access::ReadWrite;
    let schema =
        |what: &str, name: &str| Some(format!("{what} `{name}`, and no statement here changes the schema"));
    match action {
        A::Select | A::Read { .. } | A::Recursive => None,
        A::Insert { table_name: table }
        | A::Delete { table_name: table }
        | A::Update { table_name: table, .. }
            if may_write && !is_internal(table) =>
        {
            None
        }
        A::Insert { table_name } => Some(changes("insert into", table_name, may_write)),
        A::Delete { table_name } => Some(changes("delete from", table_name, may_write)),
        A::Update { table_name, .. } => Some(changes("update", table_name, may_write)),
        A::Function { function_name } => is_one_of(&REACHING, function_name)
            .then(|| format!("call `{function_name}`, which reaches beyond the database")),
        A::Pragma { pragma_name, pragma_value } => pragma(pragma_name, *pragma_value),
        A::Attach { .. } => Some("open another database file, by ATTACH or VACUUM INTO".into()),
        A::Detach { .. } => Some("detach a database file".into()),
        A::Transaction { .. } | A::Savepoint { .. } => {
            Some("begin or end a transaction; each statement runs in one of its own".into())
        }
        A::CreateTable { table_name }
        | A::CreateTempTable { table_name }
        | A::CreateVtable { table_name, .. } => schema("create the table", table_name),
        A::DropTable { table_name } | A::DropTempTable { table_name } | A::DropVtable { table_name, .. } => {
            schema("drop the table", table_name)
        }
        A::AlterTable { table_name, .. } => schema("alter the table", table_name),
        A::CreateIndex { index_name, .. } | A::CreateTempIndex { index_name, .. } => {
            schema("create the index", index_name)
        }
        A::DropIndex { index_name, .. } | A::DropTempIndex { index_name, .. } => {
            schema("drop the index", index_name)
        }
        A::CreateTrigger { trigger_name, .. } | A::CreateTempTrigger { trigger_name, .. } => {
            schema("create the trigger", trigger_name)
        }
        A::DropTrigger { trigger_name, .. } | A::DropTempTrigger { trigger_name, .. } => {
            schema("drop the trigger", trigger_name)
        }
        A::CreateView { view_name } | A::CreateTempView { view_name } => schema("create the view", view_name),
        A::DropView { view_name } | A::DropTempView { view_name } => schema("drop the view", view_name),
        A::Analyze { .. } => Some("collect statistics, which writes".into()),
        A::Reindex { .. } => Some("rebuild an index, which writes".into()),
        _ => Some("do something that is not known to be harmless".into()),
    }
}

/// SQLite's own tables, which hold the schema and its statistics.
fn is_internal(table: &str) -> bool {
    table.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

fn changes(verb: &str, table: &str, may_write: bool) -> String {
    // CREATE and DROP come to a write of the schema table before their own action is asked for.
    if is_internal(table) {
        "change the schema, which no statement here does".into()
    } else if may_write {
        format!("{verb} `{table}`, which is refused")
    } else {
        format!("{verb} `{table}`, but it may only read")
    }
}

fn pragma(name: &str, value: Option<&str>) -> Option<String> {
    match value {
        None if is_one_of(&TELLING, name) => None,
        Some(_) if is_one_of(&TELLING_OF, name) => None,
        None => Some(format!("use `PRAGMA {name}`; allowed are {}", TELLING.join(", "))),
        Some(_) => {
            Some(format!("use `PRAGMA {name}` with an argument; allowed are {}", TELLING_OF.join(", ")))
        }
    }
}

fn is_one_of(list: &[&str], name: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}
