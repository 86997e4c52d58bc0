//! Values that are read rather than written on the command line, where every user of the machine could see them:
//! `@FILE` is the content of a file, `@-` the standard input, and `@@` begins a value with a literal `@`.

use std::io::Read as _;

use super::failure::Failure;

/// The most that is read for one value, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Reads values; the standard input can be read once.
#[derive(Debug, Default)]
pub(crate) struct Values {
    stdin_read: bool,
}

impl Values {
    /// Returns the value that `text` stands for. One line break at the end of a file does not belong to it.
    pub(crate) fn read(&mut self, text: &str) -> Result<String, Failure> {
        match text.strip_prefix('@') {
            None => Ok(text.to_owned()),
            Some(literal) if literal.starts_with('@') => Ok(literal.to_owned()),
            Some("") => Err(Failure::usage(
                "`@` needs a file name, or `-` for the standard input; a literal `@` is written `@@`",
            )),
            Some("-") => self.stdin(),
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
                whole(file, path)
            }
        }
    }

    fn stdin(&mut self) -> Result<String, Failure> {
        if std::mem::replace(&mut self.stdin_read, true) {
            return Err(Failure::usage(
                "the standard input can be read for one value only; use a file for the others",
            ));
        }
        whole(std::io::stdin().lock(), "-")
    }
}

fn whole(source: impl std::io::Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = source.take(LIMIT + 1).read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
    if u64::try_from(read).is_ok_and(|read| read > LIMIT) {
        return Err(Failure::usage(format!(
            "`@{name}` holds more than {LIMIT} bytes, the most one value may have"
        )));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::usage(format!("`@{name}` cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_reads_a_file_and_two_stand_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        std::fs::write(&path, "secret\r\n\r\n").unwrap();
        let mut values = Values::default();
        assert_eq!(values.read(&format!("@{}", path.display())).unwrap(), "secret\r\n");
        assert_eq!(values.read("@@home").unwrap(), "@home");
        assert_eq!(values.read("a@b").unwrap(), "a@b");
        for wrong in ["@", "@/nonexistent/file"] {
            assert!(matches!(values.read(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
