//! The file of keys that sealed secrets of the config file are opened with: where it is, and reading and writing it.
//!
//! `TRUNKLINE_IDENTITY` names it; without that it is `trunkline.key` beside the config file. It is a file as `age-keygen` makes it:
//! a key on each line, and comments. Where the system knows who may read a file, nobody but its owner may.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use trunkline_guard::redact::age::{BadKey, Identity};

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "TRUNKLINE_IDENTITY";

/// The name of the file beside the config file.
const NAME: &str = "trunkline.key";

/// Longer files are not read.
const MOST: u64 = 64 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the file of keys `{}` cannot be read: {why}; `trunkline secret keygen` makes one, and `{VARIABLE}` names another", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("the file of keys `{}` may be read by others than its owner; run `chmod 600` on it, and `trunkline secret rotate` if others may have read it", path.display())]
    Open { path: PathBuf },
    #[error("the file of keys `{}` cannot be used: {source}", path.display())]
    Malformed { path: PathBuf, source: BadKey },
}

/// Returns where the file is.
pub(crate) fn path(variable: &dyn Fn(&str) -> Option<OsString>, folder: &Path) -> PathBuf {
    let named = variable(VARIABLE).filter(|name| !name.is_empty());
    named.map_or_else(|| folder.join(NAME), PathBuf::from)
}

/// Reads the keys.
///
/// # Errors
/// [`IdentityError`] when the file is not there, may be read by others, or has something else in it. No key is ever shown.
pub(crate) fn read(path: &Path) -> Result<Vec<Identity>, IdentityError> {
    let text = text(path)?;
    Identity::read_all(&text).map_err(|source| IdentityError::Malformed { path: path.to_owned(), source })
}

/// Returns the text of the file.
///
/// # Errors
/// As [`read`], but for what is in it.
pub(crate) fn text(path: &Path) -> Result<String, IdentityError> {
    let unreadable = |why: String| IdentityError::Unreadable { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let about = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    if is_open(&about) {
        return Err(IdentityError::Open { path: path.to_owned() });
    }
    let mut text = String::new();
    file.take(MOST + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MOST {
        return Err(unreadable(format!("it has more than {MOST} bytes")));
    }
    Ok(text)
}

#[cfg(unix)]
fn is_open(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    about.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open(_: &fs::Metadata) -> bool {
    false
}

/// Returns what is written of a key.
pub(crate) fn entry(identity: &Identity) -> String {
    format!("# public key: {}\n{}\n", identity.recipient(), identity.expose())
}

/// Makes the file; one that is there stays, and that is an error.
///
/// # Errors
/// The file is there, or cannot be written.
pub(crate) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Puts another text in the place of a file's, at once: whoever reads it has the one or the other, and who may read it stays.
///
/// # Errors
/// The file beside it cannot be written, or not be put in its place; then nothing changed.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let permissions = fs::metadata(&path)?.permissions();
    // Readable for its owner alone until it has the permissions of the other.
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(text.as_bytes())?;
    beside.as_file().set_permissions(permissions)?;
    beside.as_file().sync_all()?;
    beside.persist(&path).map(drop).map_err(|error| error.error)
}
