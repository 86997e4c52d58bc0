//! The patterns of `allow` and `deny`: `tools:`, `prompts:` or `resources:` and a glob over whole names or canonical URIs.

use trunkline_service::file::Problem;
use trunkline_service::nearest;

use super::glob::Glob;
use super::uri;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 512;

/// What a pattern is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Tools,
    Prompts,
    Resources,
}

impl Kind {
    const ALL: [(&'static str, Self); 3] =
        [("tools", Self::Tools), ("prompts", Self::Prompts), ("resources", Self::Resources)];

    /// Returns the word before the colon.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
        }
    }
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    pub(crate) glob: Glob,
}

const HELP: &str =
    "write `tools:`, `prompts:` or `resources:` and a name or URI, in which `*` stands for anything";

impl Pattern {
    /// Reads a pattern; what is wrong with it is told at `path`.
    pub(crate) fn read(text: &str, path: &[&str]) -> Result<Self, Problem> {
        let wrong = |message: String| Problem::new(path, message);
        if text.len() > MAX_PATTERN {
            let message = format!("the pattern has {} bytes; at most {MAX_PATTERN} are allowed", text.len());
            return Err(wrong(message).help("shorten it with `*`"));
        }
        let Some((word, rest)) = text.split_once(':') else {
            return Err(wrong(format!("`{text}` does not say what it is about")).help(HELP));
        };
        let Some((_, kind)) = Kind::ALL.into_iter().find(|(known, _)| *known == word) else {
            let help = match nearest(word, Kind::ALL.map(|(known, _)| known)) {
                Some(near) => format!("did you mean `{near}:`?"),
                None => HELP.to_owned(),
            };
            return Err(wrong(format!("there is no kind of thing `{word}:`")).help(help));
        };
        if rest.is_empty() {
            return Err(wrong(format!("`{text}` names nothing")).help(HELP));
        }
        let glob = match kind {
            Kind::Tools => tool_glob(rest).map_err(|(message, help)| wrong(message).help(help))?,
            Kind::Prompts => Glob::new(rest),
            Kind::Resources => uri_glob(rest).map_err(|(message, help)| wrong(message).help(help))?,
        };
        Ok(Self { kind, glob })
    }
}

type Wrong = (String, &'static str);

/// A glob that could never be the name of a tool is a slip.
fn tool_glob(text: &str) -> Result<Glob, Wrong> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '*');
    match text.chars().find(|letter| !fits(*letter)) {
        None => Ok(Glob::new(text)),
        Some(odd) => Err((
            format!("no tool has `{odd}` in its name, so `{text}` fits none"),
            "names of tools are of a-z, A-Z, 0-9, `_` and `-`; `*` stands for anything",
        )),
    }
}

/// A glob over canonical URIs is canonical itself.
fn uri_glob(text: &str) -> Result<Glob, Wrong> {
    let wrong = |why: &str| {
        (
            format!("no URI that may be read fits `{text}`: {why}"),
            "write the URI as it is listed; `*` stands for anything",
        )
    };
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let scheme = if scheme.contains('*') { "" } else { scheme };
    let mut out = scheme.to_ascii_lowercase();
    let rest = text.get(scheme.len()..).unwrap_or_default();
    uri::spell(rest, &mut out).ok_or_else(|| wrong("it has a broken `%` escape or a control character"))?;
    if uri::has_dot_segments(&out) {
        return Err(wrong("it has a segment `.` or `..`"));
    }
    if !text.contains('*') && uri::canonical(&out).is_none() {
        return Err(wrong("it has no scheme such as `files:`"));
    }
    Ok(Glob::new(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_says_what_it_is_about_and_is_spelled_as_uris_are() {
        for (text, kind, glob) in [
            ("tools:search_*", Kind::Tools, "search_*"),
            ("prompts:brief: *", Kind::Prompts, "brief: *"),
            ("resources:files://docs/*", Kind::Resources, "files://docs/*"),
            ("resources:FILES://docs/%7ea/\u{e9}*", Kind::Resources, "files://docs/~a/%C3%A9*"),
            ("resources:*", Kind::Resources, "*"),
            ("resources:*://docs/*", Kind::Resources, "*://docs/*"),
        ] {
            let pattern = Pattern::read(text, &["x"]).unwrap();
            assert_eq!((pattern.kind, pattern.glob.as_str()), (kind, glob), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_told() {
        for bad in [
            "*",
            "search_*",
            "tool:search",
            "tools:",
            "tools:a b",
            "tools:search/*",
            "resources:docs",
            "resources:files://docs/../x",
            "resources:files://docs/%2e%2e/*",
            "resources:files://docs/%4",
        ] {
            let problem = Pattern::read(bad, &["roles", "r", "allow", "0"]).unwrap_err();
            assert!(problem.help.is_some(), "{bad}: {}", problem.message);
        }
    }
}
