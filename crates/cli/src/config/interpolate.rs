//! `${NAME}` in string values: what each reference means, replaced once and never looked at again.
//!
//! It runs on parsed values, so that no text from outside can change the structure of the file.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use trunkline_guard::redact::age;

use crate::identity;

/// Where references are looked up.
pub(crate) struct Environment<'a> {
    /// Reads a variable; the process's own, or a table in tests.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// What `${file:PATH}` is relative to: the folder of the config file.
    pub(crate) folder: &'a Path,
}

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A reference that cannot be replaced. The text shows the reference, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadReference {
    /// Where it stands, as bytes of the value.
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Replaces every reference in `text`; `None` when there is nothing to replace.
///
/// # Errors
/// Every reference that is malformed, unset without a default, or names a file that cannot be read.
pub(crate) fn expand(text: &str, environment: &Environment<'_>) -> Result<Option<String>, Vec<BadReference>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut bad = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("$${") {
            out.push_str("${");
            at += 3;
        } else if let Some(inner) = rest.strip_prefix("${") {
            let end = inner.find('}');
            let range = at..end.map_or(text.len(), |end| at + end + 3);
            match end.and_then(|end| inner.get(..end)) {
                Some(inner) => match resolve(inner, environment) {
                    Ok(value) => out.push_str(&value),
                    Err((message, help)) => bad.push(BadReference { range: range.clone(), message, help }),
                },
                None => bad.push(BadReference {
                    range: range.clone(),
                    message: "this `${` has no closing `}`".to_owned(),
                    help: Some("write `$${` for a literal `${`".to_owned()),
                }),
            }
            at = range.end;
        } else {
            let next =
                rest.char_indices().skip(1).find(|(_, c)| *c == '$').map_or(rest.len(), |(next, _)| next);
            out.push_str(rest.get(..next).unwrap_or_default());
            at += next;
        }
    }
    if bad.is_empty() { Ok(Some(out)) } else { Err(bad) }
}

type Refusal = (String, Option<String>);

fn resolve(inner: &str, environment: &Environment<'_>) -> Result<String, Refusal> {
    if let Some(path) = inner.strip_prefix("file:") {
        return read_file(path, environment.folder);
    }
    if let Some(sealed) = inner.strip_prefix("sealed:") {
        return open(sealed, environment);
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        let help = "use `${NAME}`, `${NAME:-default}`, `${file:PATH}` or `${sealed:...}`; write `$${` for a literal `${`";
        return Err((format!("`${{{inner}}}` is no reference"), Some(help.to_owned())));
    }
    if default.is_some_and(|default| default.contains("${")) {
        let help = "references do not nest; set the variable instead";
        return Err((format!("the default of `${{{name}}}` holds another reference"), Some(help.to_owned())));
    }
    let value = (environment.variable)(name);
    match (value, default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => value
            .into_string()
            .map_err(|_| (format!("the variable of `${{{name}}}` is not valid UTF-8"), None)),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let help = format!("set the environment variable, or write `${{{name}:-default}}`");
            Err((format!("`${{{name}}}` is not set and has no default"), Some(help)))
        }
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Opens what `trunkline secret seal` sealed. What is sealed is no secret, and too long to be shown.
fn open(sealed: &str, environment: &Environment<'_>) -> Result<String, Refusal> {
    let refuse = |why: &dyn fmt::Display, help: &str| {
        (format!("`${{sealed:...}}` cannot be opened: {why}"), Some(help.to_owned()))
    };
    let path = identity::path(environment.variable, environment.folder);
    let identities = identity::read(&path).map_err(|error| {
        refuse(&error, "the key is read when the file is; it need not be on the machines that only seal")
    })?;
    let opened = age::open(sealed.as_bytes(), &identities);
    let opened = opened.map_err(|error| {
        refuse(&error, "seal it again: `trunkline secret seal` prints what to write here")
    })?;
    String::from_utf8(opened).map_err(|_| refuse(&"it is no UTF-8 text", "values of this file are text"))
}

/// Reads a file of at most 1 MiB and drops one final line break.
fn read_file(path: &str, folder: &Path) -> Result<String, Refusal> {
    const MOST: u64 = 1024 * 1024;
    let refuse = |why: &dyn fmt::Display| {
        let help = "the path is relative to the folder of the config file";
        (format!("`${{file:{path}}}` cannot be read: {why}"), Some(help.to_owned()))
    };
    let mut text = String::new();
    // A device or a pipe tells no length, so what is read is counted.
    std::fs::File::open(folder.join(path))
        .and_then(|file| file.take(MOST + 1).read_to_string(&mut text))
        .map_err(|error| refuse(&error))?;
    if text.len() as u64 > MOST {
        return Err(refuse(&format_args!("it has more than {MOST} bytes, the most that is allowed")));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_table(text: &str) -> Result<Option<String>, Vec<BadReference>> {
        let variable = |name: &str| match name {
            "A" => Some("p$w${B}".into()),
            "B" => Some("secret".into()),
            "E" => Some("".into()),
            "Q" => Some("a\"b\nc = 1".into()),
            _ => None,
        };
        expand(text, &Environment { variable: &variable, folder: Path::new("/nowhere") })
    }

    #[test]
    fn ci_03_variables_in_the_configuration() {
        let table = [
            ("${A}", "p$w${B}"),
            ("x-${A}-y", "x-p$w${B}-y"),
            ("$${A}", "${A}"),
            ("${E}", ""),
            ("${U:-d}", "d"),
            ("${E:-d}", "d"),
            ("${U:-}", ""),
            ("${Q}", "a\"b\nc = 1"),
            ("$$${A}", "$${A}"),
            ("${B}${B}", "secretsecret"),
            ("é${B}ü$", "ésecretü$"),
        ];
        for (text, expanded) in table {
            assert_eq!(with_table(text).unwrap().as_deref(), Some(expanded), "{text}");
        }
        assert_eq!(with_table("$A"), Ok(None));
        let bad = with_table("x${U}y${B}").unwrap_err();
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].message, "`${U}` is not set and has no default");
        assert_eq!(bad[0].range, 1..5);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in
            ["${", "a${b c}", "${}", "${1A}", "${A:-${B}}", "${sealed:}", "${sealed:abc}", "${file:missing}"]
        {
            assert!(with_table(text).is_err(), "{text}");
        }
        assert_eq!(with_table("${U} ${V}").unwrap_err().len(), 2, "every bad reference is told");
    }

    #[test]
    fn a_file_loses_one_final_line_break() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "${B}\n\n").unwrap();
        let environment = Environment { variable: &|_| None, folder: folder.path() };
        assert_eq!(expand("<${file:secret}>", &environment).unwrap().as_deref(), Some("<${B}\n>"));
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        for (name, length) in [("most", 1024 * 1024), ("more", 1024 * 1024 + 1)] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), "x".repeat(length)).unwrap();
            let environment = Environment { variable: &|_| None, folder: folder.path() };
            assert_eq!(expand(&format!("${{file:{name}}}"), &environment).is_ok(), name == "most");
        }
        if Path::new("/dev/zero").exists() {
            let bad = with_table("${file:/dev/zero}").unwrap_err();
            assert!(bad[0].message.contains("more than 1048576 bytes"), "{}", bad[0].message);
        }
    }

    #[test]
    fn a_sealed_secret_opens_with_the_key_beside_the_file_or_the_one_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (beside, named) = (age::Identity::random().unwrap(), age::Identity::random().unwrap());
        identity::create(&folder.path().join("trunkline.key"), &identity::entry(&beside)).unwrap();
        let other = folder.path().join("other");
        identity::create(&other, &identity::entry(&named)).unwrap();
        let reference = |key: &age::Identity, secret: &str| {
            let sealed = age::Sealing::new(&[key.recipient()]).unwrap().seal_line(secret.as_bytes()).unwrap();
            format!("<${{sealed:{sealed}}}>")
        };
        let without = Environment { variable: &|_| None, folder: folder.path() };
        let variable = |name: &str| (name == "TRUNKLINE_IDENTITY").then(|| other.clone().into_os_string());
        let with = Environment { variable: &variable, folder: folder.path() };
        // It is never expanded again.
        let text = reference(&beside, "p${B}w");
        assert_eq!(expand(&text, &without).unwrap().as_deref(), Some("<p${B}w>"));
        assert_eq!(expand(&reference(&named, "x"), &with).unwrap().as_deref(), Some("<x>"));
        let bad = expand(&text, &with).unwrap_err();
        assert!(bad[0].message.contains("sealed for another key"), "{}", bad[0].message);
        assert!(!bad[0].message.contains("p$") && !bad[0].message.contains("YWdl"), "{}", bad[0].message);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trunkline.key");
        let key = age::Identity::random().unwrap();
        identity::create(&path, &identity::entry(&key)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let environment = Environment { variable: &|_| None, folder: folder.path() };
        let bad = expand("${sealed:YWdl}", &environment).unwrap_err();
        assert!(bad[0].message.contains("may be read by others"), "{}", bad[0].message);
    }
}
