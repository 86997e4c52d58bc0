//! The written lists of functions: which a caller's own SQL may never call, and which it may although they are volatile.

use std::sync::LazyLock;

/// A name on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The name, without its `*`.
    pub(crate) name: &'static str,
    /// Whether any ending may follow.
    pub(crate) open: bool,
    /// What it does, as told to callers: `reads files of the server`.
    pub(crate) reason: &'static str,
    /// Whether it reaches out of the transaction and of the login's own sessions.
    pub(crate) reaches_out: bool,
}

impl Listed {
    fn covers(&self, name: &str) -> bool {
        if self.open { name.starts_with(self.name) } else { name == self.name }
    }
}

/// Returns why a function may not be called, if it is on the list.
pub(crate) fn denied(name: &str) -> Option<&'static Listed> {
    DENIED.iter().find(|listed| listed.covers(name))
}

/// Whether a volatile function may be called all the same.
pub(crate) fn is_allowed(name: &str) -> bool {
    ALLOWED.iter().any(|listed| listed.covers(name))
}

/// Returns patterns for the names of all functions that reach out, in the words of `like`.
pub(crate) fn reaching_out() -> Vec<String> {
    let pattern = |listed: &Listed| {
        let name = listed.name.replace('_', "\\_");
        if listed.open { format!("{name}%") } else { name }
    };
    DENIED.iter().filter(|listed| listed.reaches_out).map(pattern).collect()
}

/// The roles that reach out of what a login is granted by itself: whose members read or write files of the server, run
/// programs, signal others, write or maintain every table, or own the database.
pub(crate) const FAR_REACHING: &[&str] = &[
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_signal_backend",
    "pg_signal_autovacuum_worker",
    "pg_write_all_data",
    "pg_maintain",
    "pg_checkpoint",
    "pg_create_subscription",
    "pg_database_owner",
];

static DENIED: LazyLock<Vec<Listed>> = LazyLock::new(|| {
    let lines = read(include_str!("deny.txt"));
    lines
        .flat_map(|(line, names)| {
            let (mark, reason) = line.split_once(' ').unwrap_or(("-", line));
            names.split_whitespace().map(move |name| listed(name, reason, mark == "!"))
        })
        .collect()
});

static ALLOWED: LazyLock<Vec<Listed>> = LazyLock::new(|| {
    let lines = read(include_str!("allow.txt"));
    lines
        .flat_map(|(reason, names)| names.split_whitespace().map(move |name| listed(name, reason, false)))
        .collect()
});

/// Returns what stands before and after the colon of each line that is no comment.
fn read(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "))
}

fn listed(name: &'static str, reason: &'static str, reaches_out: bool) -> Listed {
    let (name, open) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    Listed { name, open, reason, reaches_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_lists_is_read() {
        for (text, list) in [(include_str!("deny.txt"), &*DENIED), (include_str!("allow.txt"), &*ALLOWED)] {
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            for line in lines {
                let (before, names) = line.split_once(": ").expect(line);
                assert!(!names.contains(':') && !before.contains('*'), "{line}");
            }
            assert!(list.len() > 30);
            // An open entry never covers everything.
            assert!(list.iter().all(|listed| listed.name.len() > 2 && !listed.reason.is_empty()));
        }
        assert!(denied("pg_read_file").is_some_and(|listed| listed.reaches_out));
        assert!(denied("set_config").is_some_and(|listed| !listed.reaches_out));
        assert!(denied("lower").is_none() && denied("lo").is_none() && denied("random").is_none());
        assert!(is_allowed("pg_sleep") && is_allowed("uuid_generate_v4") && !is_allowed("nextval"));
    }

    #[test]
    fn nothing_is_on_both_lists() {
        for allowed in ALLOWED.iter().filter(|listed| !listed.open) {
            assert_eq!(denied(allowed.name), None, "{}", allowed.name);
        }
    }

    #[test]
    fn underscores_of_names_are_no_wildcards() {
        assert!(reaching_out().contains(&"lo\\_import%".to_owned()));
        assert!(reaching_out().contains(&"pg\\_promote".to_owned()));
    }
}
