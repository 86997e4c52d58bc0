//! What lies in the folder, found without ever leaving it: paths are resolved beneath its handle by the system itself, so that
//! no link and no exchange of a folder for a link in between leads elsewhere.

use std::io;

use cap_std::fs::Dir;

use super::error::SkillFault;
use super::{MAX_DEPTH, MAX_ENTRIES};

/// A file, a folder, or something that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path in the folder, with `/`.
    pub(super) path: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Folder,
    /// With its size in bytes.
    File(u64),
    /// What is wrong with it; of interest only within a skill.
    Bad(SkillFault),
}

/// A folder still to be looked into.
struct Pending {
    path: String,
    /// Its path without links.
    real: String,
    /// The folders in which the links stand that lead here, without links.
    through: Vec<String>,
    depth: usize,
}

/// Returns everything below `root` that is not hidden, sorted by path.
///
/// Links are followed within the folder only, also to hidden places in it: that is how mounted configuration is laid out.
pub(super) fn walk(root: &Dir) -> Result<Vec<Found>, SkillFault> {
    let mut pending =
        vec![Pending { path: String::new(), real: String::new(), through: Vec::new(), depth: 0 }];
    let (mut found, mut seen) = (Vec::new(), 0);
    while let Some(folder) = pending.pop() {
        let place = if folder.path.is_empty() { "." } else { &folder.path };
        let entries = match root.read_dir(place) {
            Ok(entries) => entries,
            Err(error) if folder.path.is_empty() => return Err(unreadable(&error)),
            Err(error) => {
                found.push(Found { path: folder.path, what: What::Bad(unreadable(&error)) });
                continue;
            }
        };
        for entry in entries {
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(SkillFault::TooManyEntries);
            }
            let name = entry.as_ref().map(|entry| entry.file_name()).map_err(unreadable)?;
            let shown = name.to_string_lossy();
            if shown.starts_with('.') {
                continue;
            }
            let path = join(&folder.path, &shown);
            let what = match name.to_str().map(bad_name) {
                None => What::Bad(SkillFault::BadFileName("it is not UTF-8")),
                Some(Some(reason)) => What::Bad(SkillFault::BadFileName(reason)),
                Some(None) => look(root, &folder, &path, &shown, &mut pending),
            };
            found.push(Found { path, what });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Says what is at `path` in `folder`; if it is a folder, it is to be looked into.
fn look(root: &Dir, folder: &Pending, path: &str, name: &str, pending: &mut Vec<Pending>) -> What {
    let own = match root.symlink_metadata(path) {
        Ok(own) => own,
        Err(error) => return What::Bad(unreadable(&error)),
    };
    let mut below = Pending {
        path: path.to_owned(),
        real: join(&folder.real, name),
        through: folder.through.clone(),
        depth: folder.depth + 1,
    };
    let meant = if own.is_symlink() {
        match follow(root, folder, path) {
            Ok((meant, real)) => {
                below.real = real;
                below.through.push(folder.real.clone());
                meant
            }
            Err(fault) => return What::Bad(fault),
        }
    } else {
        own
    };
    if meant.is_file() {
        What::File(meant.len())
    } else if !meant.is_dir() {
        What::Bad(SkillFault::NotAFile)
    } else if below.depth > MAX_DEPTH {
        What::Bad(SkillFault::TooDeep)
    } else if below.through.iter().any(|place| is_within(place, &below.real)) {
        What::Bad(SkillFault::LeadsBack)
    } else {
        pending.push(below);
        What::Folder
    }
}

/// Returns what a link is a link to, and where that is.
fn follow(root: &Dir, folder: &Pending, path: &str) -> Result<(cap_std::fs::Metadata, String), SkillFault> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SkillFault::LeadsNowhere,
        // One that the system itself refuses has a number.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => SkillFault::LeadsOut,
        _ => unreadable(&error),
    };
    let meant = root.metadata(path).map_err(fault)?;
    let real = root.canonicalize(path).map_err(fault)?;
    let real = real.to_str().unwrap_or(&folder.real).trim_start_matches("./");
    Ok((meant, if real == "." { String::new() } else { real.to_owned() }))
}

/// Tells whether `place` is `folder` or in it.
fn is_within(place: &str, folder: &str) -> bool {
    folder.is_empty()
        || place.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn unreadable(error: impl std::borrow::Borrow<io::Error>) -> SkillFault {
    SkillFault::Unreadable(error.borrow().to_string())
}

/// Says why hosts could not keep a file of that name: they write skills to disks of every system.
fn bad_name(name: &str) -> Option<&'static str> {
    if name.chars().any(char::is_control) {
        Some("it holds a control character")
    } else if name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
        Some("it holds one of `\\ : * ? \" < > |`")
    } else if name.ends_with(['.', ' ']) {
        Some("it ends in a dot or a space")
    } else {
        None
    }
}
