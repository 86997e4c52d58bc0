//! What `init` is pointed at: which database, and how the file may name it so that no password stands there.

use std::ffi::OsString;
use std::path::Path;

use crate::exit::{Code, Failed};

/// The variable a file names when the address is a secret and nothing says otherwise.
const VARIABLE: &str = "DATABASE_URL";

/// A database to look at.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// PostgreSQL at an address, which may hold a password.
    Postgres {
        /// Shown nowhere.
        url: String,
        /// The variable that the file reads it from; `None` when the file may show it.
        variable: Option<String>,
        /// Whether it stood on the command line with a password, where other users of the machine can read it.
        was_shown: bool,
    },
    /// A SQLite file.
    Sqlite {
        /// As it was given.
        path: String,
    },
}

impl Target {
    /// Reads what was given: an address, the name of a variable as `${NAME}`, or nothing, which means `${DATABASE_URL}`.
    ///
    /// # Errors
    /// It is nothing that this version looks at (exit code 2), or a variable that is not set (78). No text shows an address.
    pub(super) fn parse(
        given: Option<&str>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failed> {
        let named = match given {
            None => Some(VARIABLE),
            Some(given) => given.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')),
        };
        let read = |name: &str| {
            variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
        };
        if let Some(name) = named {
            let Some(url) = read(name) else {
                let what = if given.is_none() {
                    "no database was named; write `trunkline init postgres://...` or `trunkline init sqlite:FILE`, or set `DATABASE_URL`".to_owned()
                } else {
                    format!("`${{{name}}}` is not set; export it first")
                };
                return Err(Failed::new(
                    if given.is_none() { Code::Usage } else { Code::Configuration },
                    what,
                ));
            };
            return match Self::of(&url)? {
                Self::Postgres { url, .. } => {
                    Ok(Self::Postgres { url, variable: Some(name.to_owned()), was_shown: false })
                }
                sqlite @ Self::Sqlite { .. } => Ok(sqlite),
            };
        }
        let given = given.unwrap_or_default();
        match Self::of(given)? {
            // The shell put it there: what the file should read is the variable.
            Self::Postgres { url, .. } if read(VARIABLE).as_deref() == Some(given) => {
                Ok(Self::Postgres { url, variable: Some(VARIABLE.to_owned()), was_shown: false })
            }
            target => Ok(target),
        }
    }

    fn of(given: &str) -> Result<Self, Failed> {
        let scheme = given.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        match scheme.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest)) {
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                let secret = has_password(given);
                let variable = secret.then(|| VARIABLE.to_owned());
                Ok(Self::Postgres { url: given.to_owned(), variable, was_shown: secret })
            }
            Some(("sqlite" | "sqlite3", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.starts_with(":memory:") {
                    let text =
                        "`sqlite:` names no file; write `trunkline init sqlite:FILE`, like `sqlite:shop.db`";
                    return Err(Failed::new(Code::Configuration, text));
                }
                Ok(Self::Sqlite { path: path.to_owned() })
            }
            Some((scheme, _)) => Err(other_scheme(scheme, given)),
            None => Err(no_scheme(given)),
        }
    }

    /// Returns the word for the type of connector.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "postgres",
            Self::Sqlite { .. } => "sqlite",
        }
    }

    /// Returns the name of the variable that the file reads.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Self::Postgres { variable, .. } => variable.as_deref(),
            Self::Sqlite { .. } => None,
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

const WHAT: &str =
    "this version looks at PostgreSQL (`postgres://user@host/database`) and SQLite (`sqlite:FILE`)";

fn other_scheme(scheme: &str, given: &str) -> Failed {
    let text = match scheme {
        "http" | "https" => {
            format!("MCP servers and OpenAPI documents come with a later version of `init`; {WHAT}")
        }
        "file" => format!("`file:` is no database; {WHAT}"),
        // A drive of Windows, or a name with a colon in it.
        _ if Path::new(given).exists() => return no_scheme(given),
        // Only a scheme is shown: what follows may be a password.
        _ if scheme.len() <= 20
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
        {
            format!("`{scheme}:` is no database that `init` knows; {WHAT}")
        }
        _ => format!("this is no address; {WHAT}"),
    };
    Failed::new(Code::Usage, text)
}

fn no_scheme(given: &str) -> Failed {
    let path = Path::new(given);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let text = match extension.to_ascii_lowercase().as_str() {
        _ if path.is_dir() => format!("folders come with a later version of `init`; {WHAT}"),
        "json" | "yaml" | "yml" => format!("OpenAPI documents come with a later version of `init`; {WHAT}"),
        "db" | "sqlite" | "sqlite3" | "db3" => {
            format!("a SQLite file is named with its kind: `trunkline init sqlite:{given}`")
        }
        _ if is_sqlite(path) => {
            format!("a SQLite file is named with its kind: `trunkline init sqlite:{given}`")
        }
        // Something like `host=... password=...` must not be shown.
        _ => format!("this is no address of a database; {WHAT}"),
    };
    Failed::new(Code::Usage, text)
}

fn is_sqlite(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = [0; 15];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && &head == b"SQLite format 3"
}

/// Whether an address holds what must not be shown. When in doubt it does.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':')
        || url.to_ascii_lowercase().contains("password")
        || user.to_ascii_lowercase().contains("%3a")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str) -> Result<Target, String> {
        Target::parse(Some(given), &|name| (name == "DATABASE_URL").then(|| "postgres://u@env/db".into()))
            .map_err(|failed| failed.to_string())
    }

    #[test]
    fn an_address_with_a_password_is_read_from_a_variable() {
        for (url, variable) in [
            ("postgres://u:hunter2@h/db", Some("DATABASE_URL")),
            ("postgresql://u:hunter2@h/db", Some("DATABASE_URL")),
            ("postgres://u@h/db?password=hunter2", Some("DATABASE_URL")),
            ("postgres://u:p@ss@h/db", Some("DATABASE_URL")),
            ("postgres://u@h:5432/db", None),
            ("postgres:///db", None),
            ("postgres://u@env/db", Some("DATABASE_URL")),
            ("${DATABASE_URL}", Some("DATABASE_URL")),
        ] {
            let target = parse(url).unwrap();
            assert_eq!(target.variable(), variable, "{url}");
            assert!(!format!("{target:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_database_is_refused_without_showing_it() {
        for (given, says) in [
            ("https://example.com/mcp", "later version"),
            ("openapi.yaml", "later version"),
            (".", "later version"),
            ("mysql://u:hunter2@h/db", "`mysql:` is no database"),
            ("host=h password=hunter2", "no address"),
            ("u:hunter2@h/db", "is no database that"),
            ("shop.db", "sqlite:shop.db"),
            ("sqlite:", "names no file"),
            ("${NOTHING}", "not set"),
        ] {
            let text = parse(given).unwrap_err();
            assert!(text.contains(says) && !text.contains("hunter2"), "{given}: {text}");
        }
    }

    #[test]
    fn a_file_of_sqlite_is_named_by_its_path() {
        for (given, path) in
            [("sqlite:shop.db", "shop.db"), ("sqlite:///tmp/a.db", "/tmp/a.db"), ("sqlite://a.db", "a.db")]
        {
            assert_eq!(parse(given), Ok(Target::Sqlite { path: path.to_owned() }));
        }
    }
}
