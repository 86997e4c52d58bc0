//! Where the database is and in which way it can be opened now.
//!
//! A database in WAL mode needs two more files beside it while it is read, and SQLite makes them even for a reader. That
//! fails on read-only media, and elsewhere it leaves files behind that a read-only tool must not make. When there is no
//! `-wal` file, or only an empty one that nobody shares, no connection of another program has the database in use and all
//! of it is in the main file: it is then opened as immutable, which touches nothing else. Nothing is locked in that way, so
//! before and after each statement the files are looked at again: when a writer has come, or the file has changed, the
//! connection is opened anew and the statement runs again from its first row. A writer that comes, checkpoints and goes between
//! the two looks changes the file's times and length. A `-wal` file with content is never passed over: then SQLite opens
//! the database in its ordinary way, or the error says what it lacks.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How a database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With SQLite's own locks and side files.
    Ordinary,
    /// As a file that nobody changes.
    Immutable,
}

/// The state of the files of a database at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The file itself, links followed: SQLite keeps its side files beside that one.
    pub(crate) real: PathBuf,
    identity: (u64, u64),
    length: u64,
    times: (SystemTime, i64, i64),
    pub(crate) is_wal: bool,
    wal_length: Option<u64>,
    has_shm: bool,
}

impl Survey {
    /// Looks at the files. What the last survey found out is used again as far as nothing changed.
    pub(crate) fn take(path: &Path, last: Option<&Self>) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let (identity, length, times) = (identity(&metadata), metadata.len(), times(&metadata));
        let same =
            last.filter(|last| last.identity == identity && last.length == length && last.times == times);
        let (real, is_wal) = match same {
            Some(last) => (last.real.clone(), last.is_wal),
            None => (fs::canonicalize(path)?, is_wal(path)?),
        };
        let wal_length = length_of(&beside(&real, "-wal"))?;
        let has_shm = length_of(&beside(&real, "-shm"))?.is_some();
        Ok(Self { real, identity, length, times, is_wal, wal_length, has_shm })
    }

    /// The way a reader takes.
    pub(crate) fn way(&self) -> Way {
        if self.is_wal && self.may_be_immutable() && !self.has_shm { Way::Immutable } else { Way::Ordinary }
    }

    /// Whether all of the database is in its main file.
    pub(crate) fn may_be_immutable(&self) -> bool {
        self.wal_length.is_none_or(|length| length == 0)
    }

    /// Whether it is still the same file, whatever was written to it.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.identity == other.identity && self.real == other.real
    }

    /// Why the ordinary way does not work, for a database in WAL mode.
    pub(crate) fn wal_advice(&self) -> String {
        let name = self.real.file_name().unwrap_or_default().to_string_lossy();
        let directory = self.real.parent().unwrap_or(Path::new("/")).display();
        format!(
            "the database is in WAL mode and `{name}-wal` holds changes; to read them SQLite must be able to write to \
             `{name}-shm` in the directory `{directory}`: give this process the right to write there, or have the program that \
             writes the database close it"
        )
    }
}

/// The path of a side file.
fn beside(real: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(real);
    name.push(suffix);
    name.into()
}

fn length_of(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the two version bytes of the header. Spec: https://sqlite.org/fileformat2.html section 1.3.3.
fn is_wal(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(20);
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header.starts_with(b"SQLite format 3\0") && header.ends_with(&[2, 2]))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

fn times(metadata: &Metadata) -> (SystemTime, i64, i64) {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (modified, metadata.ctime(), metadata.ctime_nsec())
    }
    #[cfg(not(unix))]
    {
        (modified, 0, 0)
    }
}

/// The name under which SQLite opens a file as immutable.
pub(crate) fn immutable_uri(real: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in real.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_bring_its_own_uri_parameters() {
        assert_eq!(
            immutable_uri(Path::new("/a b/x?mode=rw&é#.db")),
            "file:/a%20b/x%3Fmode%3Drw%26%C3%A9%23.db?mode=ro&immutable=1"
        );
    }

    #[test]
    fn only_a_clean_wal_database_is_immutable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let header =
            |version| [b"SQLite format 3\0".as_slice(), &[16, 0, version, version], &[0; 80]].concat();
        fs::write(&path, header(1)).unwrap();
        assert_eq!(Survey::take(&path, None).unwrap().way(), Way::Ordinary);
        fs::write(&path, header(2)).unwrap();
        assert_eq!(Survey::take(&path, None).unwrap().way(), Way::Immutable);
        fs::write(directory.path().join("a.db-wal"), b"").unwrap();
        assert_eq!(Survey::take(&path, None).unwrap().way(), Way::Immutable);
        fs::write(directory.path().join("a.db-shm"), b"x").unwrap();
        assert_eq!(Survey::take(&path, None).unwrap().way(), Way::Ordinary);
        fs::remove_file(directory.path().join("a.db-shm")).unwrap();
        fs::write(directory.path().join("a.db-wal"), b"x").unwrap();
        assert_eq!(Survey::take(&path, None).unwrap().way(), Way::Ordinary);
    }
}
