//! What `trunkline keys` prints.

use serde_json::{Value, json};
use trunkline_guard::authenticate::keys::{Entry, Issued};

use super::super::Output;
use super::super::tools::table::{draw, printable};
use super::time::{rfc3339, shown};
use crate::output;

/// Prints a key that was made: it alone on stdout, what there is to say of it on stderr.
pub(super) fn made(issued: &Issued, replaces: Option<(&Entry, u64)>, form: Output) {
    let (id, expires) = (issued.key.id(), issued.expires.map(rfc3339));
    if form == Output::Json {
        let mut made = json!({ "id": id.as_str(), "key": issued.key.reveal(), "expires": expires });
        if let Some((old, until)) = replaces {
            made["replaces"] = json!({ "id": old.id.as_str(), "expires": rfc3339(until) });
        }
        output::result(&made.to_string());
        return;
    }
    let end =
        issued.expires.map_or_else(|| "without an end".to_owned(), |end| format!("until {} UTC", shown(end)));
    output::line(&format!("key `{id}` of `{}`, {end}; it is shown this once:", plain(&issued.name)));
    output::result(issued.key.reveal());
    if let Some((old, until)) = replaces {
        output::line(&format!(
            "it takes the place of `{}`, which goes on until {} UTC",
            old.id,
            shown(until)
        ));
    }
}

/// Prints all keys.
pub(super) fn listed(entries: &[Entry], now: u64, form: Output) {
    if form == Output::Json {
        let keys: Vec<Value> = entries.iter().map(|entry| json_of(entry, now)).collect();
        output::result(&json!({ "keys": keys }).to_string());
        return;
    }
    if entries.is_empty() {
        output::result("no keys");
        return;
    }
    let header = ["id", "name", "state", "roles", "scopes", "created", "expires", "last use"];
    let rows = entries.iter().map(|entry| {
        let never = |time: Option<u64>| time.map_or_else(|| "never".to_owned(), shown);
        [
            entry.id.to_string(),
            plain(&entry.name),
            entry.state(now).to_string(),
            plain(&entry.roles.join(", ")),
            plain(&entry.scopes.join(" ")),
            shown(entry.created),
            never(entry.expires),
            never(entry.last_use),
        ]
    });
    output::result(&draw(header, rows));
    output::line("times are UTC; a last use is known to about a minute");
}

/// Prints what was revoked.
pub(super) fn revoked(entries: &[Entry], form: Output) {
    if form == Output::Json {
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        output::result(&json!({ "revoked": ids }).to_string());
        return;
    }
    for entry in entries {
        output::line(&format!(
            "revoked `{}` of `{}`: no node takes it any more, a second from now at the latest",
            entry.id,
            plain(&entry.name)
        ));
    }
    if entries.is_empty() {
        output::line("it was revoked before");
    }
}

/// Returns text without anything that moves a cursor.
pub(super) fn plain(text: &str) -> String {
    printable(text).replace('\n', " ")
}

fn json_of(entry: &Entry, now: u64) -> Value {
    json!({
        "id": entry.id.as_str(),
        "name": entry.name,
        "state": entry.state(now).to_string(),
        "roles": entry.roles,
        "scopes": entry.scopes,
        "created": rfc3339(entry.created),
        "expires": entry.expires.map(rfc3339),
        "revoked": entry.revoked.map(rfc3339),
        "lastUse": entry.last_use.map(rfc3339),
        "replacedBy": entry.replaced_by.map(|id| id.to_string()),
    })
}
