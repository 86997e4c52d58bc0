//! What the numbers of each check mean: where it begins to matter, and what to do then.

use serde::Deserialize;

use super::{Check, Item, Name, Status};
use crate::assistant::explain::number;

/// The checks of [`Counted`].
pub(super) const COUNTED: [Name; 8] = [
    Name::Connections,
    Name::Transactions,
    Name::Blocked,
    Name::Cache,
    Name::Autovacuum,
    Name::Wraparound,
    Name::Sequences,
    Name::Invalid,
];

/// The checks of [`ByTable`].
pub(super) const BY_TABLE: [Name; 3] = [Name::DeadRows, Name::Bloat, Name::Analyze];

/// The checks of [`Replicated`].
pub(super) const REPLICATED: [Name; 2] = [Name::Replication, Name::Slots];

/// What the server counts for everybody.
#[derive(Debug, Deserialize)]
pub(super) struct Counted {
    connections: Connections,
    longest: Longest,
    blocked: Vec<Blocked>,
    cache: Cache,
    wraparound: Wraparound,
    autovacuum: bool,
    sequences: Vec<Sequence>,
    unseen_sequences: u64,
    invalid_indexes: Vec<String>,
    invalid_constraints: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Connections {
    most: f64,
    used: f64,
    active: u64,
    idle: u64,
    waiting_in_transaction: u64,
    unseen: u64,
}

#[derive(Debug, Deserialize)]
struct Longest {
    transaction: f64,
    idle: f64,
}

#[derive(Debug, Deserialize)]
struct Blocked {
    pid: i64,
    by: Option<i64>,
    seconds: Option<f64>,
    relation: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Cache {
    hit: f64,
    read: f64,
}

#[derive(Debug, Deserialize)]
struct Wraparound {
    age: f64,
    begins: f64,
}

#[derive(Debug, Deserialize)]
struct Sequence {
    name: String,
    used: f64,
}

/// Judges what is counted for everybody.
pub(super) fn counted(counted: Counted) -> Vec<Check> {
    vec![
        connections(&counted.connections),
        transactions(&counted.longest, counted.connections.unseen),
        blocked(&counted.blocked),
        cache(&counted.cache),
        autovacuum(counted.autovacuum),
        wraparound(&counted.wraparound),
        sequences(&counted.sequences, counted.unseen_sequences),
        invalid(&counted),
    ]
}

fn level(value: f64, warn: f64, bad: f64) -> Status {
    if value >= bad {
        Status::Bad
    } else if value >= warn {
        Status::Warn
    } else {
        Status::Ok
    }
}

fn connections(found: &Connections) -> Check {
    let share = found.used / found.most.max(1.0);
    let status = level(share, 0.8, 0.95);
    let states = if found.unseen >= 1 {
        format!("{} are of other users, whose state this login may not see", found.unseen)
    } else {
        format!(
            "{} active, {} idle, {} idle in a transaction",
            found.active, found.idle, found.waiting_in_transaction
        )
    };
    let advice = match status {
        Status::Ok => "",
        _ => {
            "; use a pool in front of the server, or smaller ones in the programs, before raising `max_connections`"
        }
    };
    let text =
        format!("{} of {} connections are used: {states}{advice}", number(found.used), number(found.most));
    Check::new(Name::Connections, status, text).value(share, "share of max_connections")
}

fn transactions(found: &Longest, unseen: u64) -> Check {
    let status = level(found.idle, 60.0, 600.0).max(level(found.transaction, 600.0, 3600.0));
    let text = if status > Status::Ok {
        format!(
            "the longest transaction is open for {} seconds, the longest idle one for {}: it holds back vacuum and may hold locks; \
             end it (`pg_terminate_backend`) and set `idle_in_transaction_session_timeout`",
            number(found.transaction.round()),
            number(found.idle.round())
        )
    } else if unseen > 0 {
        "no long transaction among those this login may see; `grant pg_read_all_stats` to it shows the others"
            .to_owned()
    } else {
        "no transaction is open for long".to_owned()
    };
    Check::new(Name::Transactions, status, text).value(found.transaction, "seconds")
}

fn blocked(found: &[Blocked]) -> Check {
    let longest = found.iter().filter_map(|one| one.seconds).fold(0.0, f64::max);
    let status = if found.is_empty() { Status::Ok } else { level(longest, 1.0, 30.0).max(Status::Warn) };
    let text = match found.len() {
        0 => "no session waits for a lock".to_owned(),
        count => format!(
            "{count} sessions wait for a lock, the longest for {} seconds; look at what the blocking one does, and end it if need be",
            number(longest.round())
        ),
    };
    let items = found.iter().map(|one| {
        let on = one.relation.as_deref().map(|name| format!(" on {name}")).unwrap_or_default();
        let by = one.by.map(|pid| format!(" for process {pid}")).unwrap_or_default();
        Item::new(
            format!("process {}", one.pid),
            format!("waits{by}{on} for {} seconds", number(one.seconds.unwrap_or_default().round())),
        )
    });
    #[expect(clippy::cast_precision_loss, reason = "there are at most 20")]
    let count = found.len() as f64;
    Check::new(Name::Blocked, status, text).value(count, "sessions").items(items.collect())
}

fn cache(found: &Cache) -> Check {
    let all = found.hit + found.read;
    if all < 100_000.0 {
        return Check::new(Name::Cache, Status::Ok, "too little was read to tell");
    }
    let ratio = found.hit / all;
    let status = if ratio < 0.8 {
        Status::Bad
    } else if ratio < 0.95 {
        Status::Warn
    } else {
        Status::Ok
    };
    let advice = match status {
        Status::Ok => "",
        _ => "; look for big tables that are read whole (the tool for indexes), then at `shared_buffers`",
    };
    let text = format!("{:.1} % of the blocks read were in the cache{advice}", ratio * 100.0);
    Check::new(Name::Cache, status, text).value(ratio, "share of blocks")
}

fn autovacuum(on: bool) -> Check {
    if on {
        Check::new(Name::Autovacuum, Status::Ok, "autovacuum is on")
    } else {
        let text = "autovacuum is off, so that dead rows stay and statistics grow old; set `autovacuum` and `track_counts` to on";
        Check::new(Name::Autovacuum, Status::Bad, text)
    }
}

fn wraparound(found: &Wraparound) -> Check {
    // Writes stop some millions before this.
    let share = found.age / 2_147_483_648.0;
    let status = level(share, 0.5, 0.75).max(level(found.age, found.begins * 1.5, f64::MAX));
    let advice = match status {
        Status::Ok => "",
        _ => {
            "; vacuum does not keep up: end old transactions, drop old slots, then `vacuum freeze` the oldest tables"
        }
    };
    let text = format!(
        "the oldest row is {} transactions old, {:.0} % of what there can be{advice}",
        number(found.age),
        share * 100.0
    );
    Check::new(Name::Wraparound, status, text).value(share, "share of 2^31 transactions")
}

fn sequences(found: &[Sequence], unseen: u64) -> Check {
    let most = found.iter().map(|one| one.used).fold(0.0, f64::max);
    let status = level(most, 0.7, 0.9);
    let mut text = match status {
        Status::Ok => "no sequence is near its end".to_owned(),
        _ => "sequences are near their end, after which inserts fail; make their columns `bigint` in time"
            .to_owned(),
    };
    if unseen > 0 {
        text.push_str(&format!(" ({unseen} cannot be seen by this login)"));
    }
    let near = found.iter().filter(|one| one.used >= 0.7);
    let mut items: Vec<Item> =
        near.map(|one| Item::new(one.name.as_str(), format!("{:.1} % used", one.used * 100.0))).collect();
    items.truncate(20);
    Check::new(Name::Sequences, status, text).value(most, "share used").items(items)
}

fn invalid(found: &Counted) -> Check {
    let indexes = found
        .invalid_indexes
        .iter()
        .map(|name| Item::new(name.as_str(), "invalid index: `reindex index concurrently` or drop it"));
    let constraints = found.invalid_constraints.iter().map(|name| {
        Item::new(name.as_str(), "constraint never checked: `alter table ... validate constraint`")
    });
    let items: Vec<Item> = indexes.chain(constraints).collect();
    #[expect(clippy::cast_precision_loss, reason = "there are at most 40")]
    let count = items.len() as f64;
    let (status, text) = match items.len() {
        0 => (Status::Ok, "all indexes and constraints are valid".to_owned()),
        count => {
            (Status::Warn, format!("{count} indexes or constraints are invalid: they cost and do not serve"))
        }
    };
    Check::new(Name::Invalid, status, text).value(count, "indexes and constraints").items(items)
}

// ---- table by table ----

/// Dead rows, old statistics, spare room.
#[derive(Debug, Deserialize)]
pub(super) struct ByTable {
    dead: Vec<Dead>,
    stale: Vec<Stale>,
    bloated: Vec<Bloated>,
}

#[derive(Debug, Deserialize)]
struct Dead {
    name: String,
    live: f64,
    dead: f64,
    vacuumed: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Stale {
    name: String,
    live: f64,
    changed: f64,
    analyzed: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Bloated {
    name: String,
    bytes: f64,
    spare: f64,
}

/// Judges what is counted table by table.
pub(super) fn by_table(found: ByTable) -> Vec<Check> {
    vec![dead_rows(&found.dead), bloat(&found.bloated), analyze(&found.stale)]
}

fn dead_rows(found: &[Dead]) -> Check {
    let worst = found.iter().map(|one| one.dead / (one.live + one.dead).max(1.0)).fold(0.0, f64::max);
    let text = match found.len() {
        0 => "no table has many dead rows".to_owned(),
        count => format!(
            "{count} tables have many dead rows; `vacuum` them, and lower `autovacuum_vacuum_scale_factor` for those that are often changed"
        ),
    };
    let items = found.iter().map(|one| {
        let vacuumed = one.vacuumed.as_deref().unwrap_or("never");
        Item::new(
            one.name.as_str(),
            format!("{} dead, {} live; last vacuum: {vacuumed}", number(one.dead), number(one.live)),
        )
    });
    Check::new(Name::DeadRows, level(worst, 0.15, 0.5), text)
        .value(worst, "worst share of dead rows")
        .items(items.collect())
}

fn bloat(found: &[Bloated]) -> Check {
    let spare: f64 = found.iter().map(|one| one.spare).sum();
    let worst = found.iter().map(|one| one.spare / one.bytes.max(1.0)).fold(0.0, f64::max);
    let text = match found.len() {
        0 => "no larger table that this login may read is estimated to be mostly spare room".to_owned(),
        count => format!(
            "by an estimate, {count} tables have {} MB of spare room; where it matters, `vacuum full` (locks) or pg_repack gives it back",
            number((spare / 1e6).round())
        ),
    };
    let items = found.iter().map(|one| {
        let (spare, all) = (number((one.spare / 1e6).round()), number((one.bytes / 1e6).round()));
        Item::new(one.name.as_str(), format!("about {spare} of {all} MB"))
    });
    let status = if found.is_empty() { Status::Ok } else { level(worst, 0.4, 0.8) };
    Check::new(Name::Bloat, status, text).value(worst, "worst estimated share").items(items.collect())
}

fn analyze(found: &[Stale]) -> Check {
    let text = match found.len() {
        0 => "the planner's statistics are up to date".to_owned(),
        count => format!(
            "{count} tables were changed a lot since they were analyzed, so that plans may be bad; `analyze` them"
        ),
    };
    let items = found.iter().map(|one| {
        let analyzed = one.analyzed.as_deref().unwrap_or("never");
        Item::new(
            one.name.as_str(),
            format!("{} changes on {} rows; last analyze: {analyzed}", number(one.changed), number(one.live)),
        )
    });
    #[expect(clippy::cast_precision_loss, reason = "there are at most 15")]
    let count = found.len() as f64;
    let status = if found.is_empty() { Status::Ok } else { Status::Warn };
    Check::new(Name::Analyze, status, text).value(count, "tables").items(items.collect())
}

// ---- replication ----

/// Replicas, slots, and how far this server itself is behind.
#[derive(Debug, Deserialize)]
pub(super) struct Replicated {
    recovery: bool,
    behind: Option<f64>,
    replicas: Vec<Replica>,
    slots: Vec<Slot>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    name: Option<String>,
    state: Option<String>,
    seen: bool,
    seconds: Option<f64>,
    bytes: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Slot {
    name: String,
    active: bool,
    status: Option<String>,
    kept: Option<f64>,
}

/// Judges replication.
pub(super) fn replicated(found: Replicated) -> Vec<Check> {
    vec![replication(&found), slots(&found.slots)]
}

fn replication(found: &Replicated) -> Check {
    if found.recovery {
        let Some(behind) = found.behind else {
            let text = "this server is a replica that has applied nothing since it started, and something waits to be: \
                        how far it is behind is not known";
            return Check::unknown(Name::Replication, text);
        };
        let text = format!("this server is a replica, {} seconds behind its primary", number(behind.round()));
        return Check::new(Name::Replication, level(behind, 10.0, 300.0), text)
            .value(behind, "seconds behind");
    }
    if found.replicas.iter().any(|replica| !replica.seen) {
        let text = format!(
            "there are {} replicas, whose state this login may not see; `grant pg_monitor` to it lets it",
            found.replicas.len()
        );
        return Check::unknown(Name::Replication, text);
    }
    let worst = found.replicas.iter().filter_map(|replica| replica.seconds).fold(0.0, f64::max);
    let is_broken = found.replicas.iter().any(|replica| replica.state.as_deref() != Some("streaming"));
    let status = level(worst, 10.0, 300.0).max(if is_broken { Status::Warn } else { Status::Ok });
    let text = match found.replicas.len() {
        0 => "no replica is connected".to_owned(),
        count => {
            format!("{count} replicas are connected, the slowest {} seconds behind", number(worst.round()))
        }
    };
    let items = found.replicas.iter().map(|one| {
        let text = format!(
            "{}, {} bytes behind",
            one.state.as_deref().unwrap_or("not known"),
            number(one.bytes.unwrap_or_default())
        );
        Item::new(one.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("replica"), text)
    });
    Check::new(Name::Replication, status, text).value(worst, "seconds behind").items(items.collect())
}

fn slots(found: &[Slot]) -> Check {
    let is_lost = |slot: &&Slot| matches!(slot.status.as_deref(), Some("lost" | "unreserved"));
    let kept = found.iter().filter(|slot| !slot.active).filter_map(|slot| slot.kept).fold(0.0, f64::max);
    let lost = found.iter().filter(is_lost).count();
    let unused = found.iter().filter(|slot| !slot.active).count();
    let status = if lost > 0 || kept > 10e9 {
        Status::Bad
    } else if unused > 0 {
        Status::Warn
    } else {
        Status::Ok
    };
    let text = match (found.len(), unused) {
        (0, _) => "there are no replication slots".to_owned(),
        (count, 0) => format!("all {count} replication slots are in use"),
        (_, unused) => format!(
            "{unused} replication slots are not in use and keep old WAL and rows; drop those nobody comes back for (`pg_drop_replication_slot`)"
        ),
    };
    let items = found.iter().filter(|slot| !slot.active || is_lost(slot)).map(|slot| {
        let kept = number((slot.kept.unwrap_or_default() / 1e6).round());
        Item::new(
            slot.name.as_str(),
            format!("{}, keeps {kept} MB", slot.status.as_deref().unwrap_or("not in use")),
        )
    });
    Check::new(Name::Slots, status, text)
        .value(kept / 1e6, "MB kept by slots not in use")
        .items(items.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_statuses() {
        let used = |used: f64| {
            connections(&Connections {
                most: 100.0,
                used,
                active: 1,
                idle: 1,
                waiting_in_transaction: 0,
                unseen: 0,
            })
            .status
        };
        assert_eq!([50.0, 85.0, 99.0].map(used), [Status::Ok, Status::Warn, Status::Bad]);
        let ratio = |hit: f64| cache(&Cache { hit, read: 1e6 - hit }).status;
        assert_eq!([0.99e6, 0.9e6, 0.5e6].map(ratio), [Status::Ok, Status::Warn, Status::Bad]);
        let age = |age: f64| wraparound(&Wraparound { age, begins: 2e8 }).status;
        assert_eq!([1e8, 4e8, 1.9e9].map(age), [Status::Ok, Status::Warn, Status::Bad]);
        let slot = |active: bool, kept: f64| {
            slots(&[Slot { name: "s".into(), active, status: None, kept: Some(kept) }]).status
        };
        assert_eq!(
            [slot(true, 1e12), slot(false, 1.0), slot(false, 1e12)],
            [Status::Ok, Status::Warn, Status::Bad]
        );
        assert_eq!(slots(&[]).status, Status::Ok);
    }
}
