//! A file of lines: locked against a second writer, carried on after a restart, and put aside when it is full.
//!
//! A full `audit.jsonl` becomes `audit.jsonl.000001`, the next one `.000002`: a name once given stays. Nothing is removed
//! unless a number of files to keep is set.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use trunkline_service::shared::Later;

use super::stream::Stream;
use super::tail::{self, Tail};
use super::{Batch, Found, Oldest, Renewed, Sink, SinkError, WriteError};
use crate::record::chain::{Prover, Sealed};

/// More than the longest line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Appends lines to a file.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    rotation: Rotation,
    open: Option<Open>,
}

/// When a file is put aside, and how many of those stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// From this size on the next lines go to a new file, in bytes.
    pub size: u64,
    /// How many files stay that were put aside; `None` for all.
    pub keep: Option<NonZeroUsize>,
}

#[derive(Debug)]
enum Open {
    /// A regular file.
    File(Lines),
    /// A device, which is written and never read.
    Device(Stream<File>),
}

/// A file that is written.
#[derive(Debug)]
struct Lines {
    file: File,
    length: u64,
    /// It ends with a line break; else the next write begins with one, so that a crash in between leaves nothing new.
    is_ended: bool,
}

impl FileSink {
    /// Makes a sink; nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf, rotation: Rotation) -> Self {
        Self { path, rotation, open: None }
    }

    fn wrong(&self, what: &str) -> SinkError {
        SinkError::wrong(format!("the audit record `{}` {what}", self.path.display()))
    }

    fn unavailable(&self, what: &str, error: io::Error) -> SinkError {
        SinkError::unavailable(format!("the audit record `{}` {what}", self.path.display()))
            .with_source(error)
    }

    fn open_file(&mut self, prover: &Prover) -> Result<Found, SinkError> {
        // The lock of the file before goes with it.
        self.open = None;
        // Looked at first, since opening a named pipe would wait for its reader.
        let kind = fs::metadata(&self.path).ok().map(|metadata| metadata.file_type());
        let is_device = kind.is_some_and(is_device);
        if kind.is_some_and(|kind| !kind.is_file() && !is_device) {
            return Err(self.wrong("is no file; give the path of a file"));
        }
        let mut file = open(&self.path).map_err(|error| self.wrong("cannot be opened").with_source(error))?;
        if is_device {
            self.open = Some(Open::Device(Stream::new(file)));
            return Ok(Found::default());
        }
        self.lock(&file)?;
        let (found, is_ended) = self.find(&mut file, prover)?;
        let length = file.metadata().map_err(|error| self.unavailable("cannot be looked at", error))?.len();
        self.open = Some(Open::File(Lines { file, length, is_ended }));
        Ok(found)
    }

    fn lock(&self, file: &File) -> Result<(), SinkError> {
        match file.try_lock() {
            Ok(()) if is_at(file, &self.path) => Ok(()),
            Ok(()) => Err(self.wrong("was moved while it was opened; start again")),
            Err(TryLockError::WouldBlock) => {
                Err(self.wrong("is being written by another process; give each process a file of its own"))
            }
            Err(TryLockError::Error(error)) => Err(self.wrong("cannot be locked").with_source(error)),
        }
    }

    /// Finds where the record stands, in this file or in the one that was put aside last, and whether this one ends with a
    /// line break.
    fn find(&self, file: &mut File, prover: &Prover) -> Result<(Found, bool), SinkError> {
        let tail = |file: &mut File| {
            tail::of(file, prover).map_err(|error| self.unavailable("cannot be read", error))
        };
        let (here, is_ended) = tail(file)?;
        let torn = match here {
            Tail::Line(head, torn) => return Ok((Found { head, torn, is_new: false }, is_ended)),
            Tail::Foreign => return Err(self.foreign()),
            Tail::Empty(torn) => torn,
        };
        let mut found = Found { head: None, torn, is_new: true };
        if let Some((_, last)) = set_aside(&self.path).pop() {
            let mut last = File::open(&last).map_err(|error| self.unavailable("cannot be read", error))?;
            match tail(&mut last)? {
                (Tail::Line(head, _), _) => found.head = head,
                (Tail::Empty(None), _) => {}
                _ => return Err(self.foreign()),
            }
        }
        Ok((found, is_ended))
    }

    fn foreign(&self) -> SinkError {
        self.wrong(
            "does not end with lines of this `key`: it was written under another one, or changed; look at it with \
             `trunkline audit verify`, then restore the key, or move the file away to begin a new record",
        )
    }

    fn write_lines(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let lines = match &mut self.open {
            Some(Open::Device(stream)) => return stream.write_all(batch),
            Some(Open::File(lines)) => lines,
            None => return Err(SinkError::unavailable("the audit record is not open").into()),
        };
        let gone = || {
            let text = format!("the audit record `{}` was moved, removed or changed", self.path.display());
            WriteError::from(SinkError::unavailable(text))
        };
        if !is_at(&lines.file, &self.path) || length_of(&lines.file) != Some(lines.length) {
            return Err(gone());
        }
        lines.append(batch.text()).map_err(|error| {
            let text = format!("the audit record `{}` cannot be written", self.path.display());
            SinkError::unavailable(text).with_source(error)
        })?;
        // Removed in the meantime, it took the lines along.
        if is_removed(&lines.file) { Err(gone()) } else { Ok(()) }
    }

    fn begin_new(&mut self) -> Result<Renewed, SinkError> {
        if let Some(Open::File(lines)) = &self.open {
            lines.file.sync_data().map_err(|error| self.unavailable("cannot be synchronised", error))?;
        }
        let number = set_aside(&self.path).last().map_or(0, |(number, _)| *number) + 1;
        let aside = aside(&self.path, number);
        fs::rename(&self.path, &aside).map_err(|error| self.unavailable("cannot be put aside", error))?;
        let begun = self.create();
        if begun.is_err() {
            // The old one goes on under its name.
            let _ = fs::rename(&aside, &self.path);
        }
        self.open = Some(Open::File(Lines { file: begun?, length: 0, is_ended: true }));
        Ok(Renewed { oldest: self.prune() })
    }

    fn create(&self) -> Result<File, SinkError> {
        let created = options().create_new(true).open(&self.path);
        let file = created.map_err(|error| self.unavailable("cannot be begun anew", error))?;
        self.lock(&file)?;
        sync_folder(&self.path);
        Ok(file)
    }

    /// Removes the oldest files beyond those to keep; the first line that is left, if any was removed.
    fn prune(&self) -> Option<Oldest> {
        let keep = self.rotation.keep?.get();
        let all = set_aside(&self.path);
        let (old, kept) = all.split_at_checked(all.len().checked_sub(keep)?)?;
        let removed = old.iter().filter(|(_, path)| match fs::remove_file(path) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "an old audit record cannot be removed");
                false
            }
        });
        if removed.count() == 0 {
            return None;
        }
        kept.first().and_then(|(_, path)| first_line(path))
    }
}

impl Lines {
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let length = if self.is_ended {
            self.file.write_all(text).map(|()| text.len())
        } else {
            let text = [b"\n", text].concat();
            self.file.write_all(&text).map(|()| text.len())
        };
        match length {
            Ok(length) => {
                self.length += length as u64;
                self.is_ended = true;
                Ok(())
            }
            Err(error) => {
                // What was written of it goes away again; where it does not, it is found when the file is opened again.
                if length_of(&self.file).is_some_and(|now| now > self.length) {
                    let _ = self.file.set_len(self.length);
                }
                Err(error)
            }
        }
    }
}

impl Sink for FileSink {
    fn open<'a>(&'a mut self, prover: &'a Prover) -> Later<'a, Result<Found, SinkError>> {
        Box::pin(std::future::ready(self.open_file(prover)))
    }

    fn write<'a>(&'a mut self, batch: &'a Batch) -> Later<'a, Result<(), WriteError>> {
        Box::pin(std::future::ready(self.write_lines(batch)))
    }

    fn sync(&mut self) -> Later<'_, Result<(), SinkError>> {
        let synced = match &self.open {
            Some(Open::File(lines)) => {
                lines.file.sync_data().map_err(|error| self.unavailable("cannot be synchronised", error))
            }
            _ => Ok(()),
        };
        Box::pin(std::future::ready(synced))
    }

    fn is_full(&self) -> bool {
        matches!(&self.open, Some(Open::File(lines)) if lines.length >= self.rotation.size)
    }

    fn renew(&mut self) -> Later<'_, Result<Renewed, SinkError>> {
        Box::pin(std::future::ready(self.begin_new()))
    }
}

/// Returns the files of a record in their order: those that were put aside, then the one being written, if it is there.
#[must_use]
pub fn files(path: &Path) -> Vec<PathBuf> {
    let current = path.exists().then(|| path.to_owned());
    set_aside(path).into_iter().map(|(_, path)| path).chain(current).collect()
}

/// The files that were put aside, oldest first, each with its number.
fn set_aside(path: &Path) -> Vec<(u64, PathBuf)> {
    let Some(name) = path.file_name() else { return Vec::new() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let numbered = |path: PathBuf| {
        let rest = path.file_name()?.as_encoded_bytes().strip_prefix(name.as_encoded_bytes())?;
        let digits = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
        let is_number = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        Some((digits.parse().ok().filter(|_| is_number)?, path))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|entry| numbered(entry.path())).collect();
    found.sort_unstable();
    found
}

/// The name of a file that is put aside.
fn aside(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:06}"));
    name.into()
}

/// The first line of a file.
fn first_line(path: &Path) -> Option<Oldest> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?).take(MAX_LINE).read_until(b'\n', &mut line).ok()?;
    Sealed::parse(line.trim_ascii_end()).map(|line| Oldest { node: line.node.into(), seq: line.seq })
}

fn open(path: &Path) -> io::Result<File> {
    match options().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options().create(true).open(path)?;
            sync_folder(path);
            Ok(file)
        }
        opened => opened,
    }
}

/// Appends only, and nobody else may read a file that is made.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn length_of(file: &File) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.len())
}

/// Makes the name of a new file outlive the machine, where the system can.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Some file systems cannot; the lines themselves are synchronised on their own.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(unix)]
fn is_device(kind: fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&kind)
}

/// Tells whether the path still leads to the file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(file), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (file.dev(), file.ino()) == (there.dev(), there.ino())
}

#[cfg(unix)]
fn is_removed(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

#[cfg(not(unix))]
fn is_device(_: fs::FileType) -> bool {
    false
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(not(unix))]
fn is_removed(_: &File) -> bool {
    false
}
