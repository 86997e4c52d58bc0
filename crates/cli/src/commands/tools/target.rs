//! Which server a command line means: a URL, a config file that our own `serve` serves, or a command after `--`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use trunkline_client::{ChildStderr, Client, ClientError, ConnectOptions, Progress, Target};
use trunkline_sql::file::DurationText;

use super::failure::Failure;
use super::table;
use super::values::Values;
use crate::output;

// How a server is reached, for every command that uses one. Not a doc comment: clap would show it as the command's.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Send this HTTP header with every request; `@FILE` or `@-` as its value reads a file or the standard input.
    #[arg(long = "header", value_name = "N: V")]
    pub(crate) headers: Vec<String>,
    /// How long the server may take to be spoken to, and then for each request, like `5s` or `2m`. Default: 20s, and 60s.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(crate) timeout: Option<Duration>,
    /// A program that speaks MCP on its standard input and output.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Reads the value of `--timeout`.
///
/// # Errors
/// What a length of time looks like.
fn timeout(text: &str) -> Result<Duration, String> {
    DurationText::deserialize(text.into_deserializer())
        .map(|limit| limit.0)
        .map_err(|error: serde::de::value::Error| error.to_string())
}

/// The server of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// A Streamable HTTP endpoint.
    Url(String),
    /// A config file.
    Config(String),
    /// A program and its arguments.
    Command(Vec<OsString>),
}

/// A command line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The server.
    pub(crate) server: Server,
    /// The words that are not about the server.
    pub(crate) rest: Vec<String>,
}

impl Parts {
    /// Finds the server: the command after `--` if there is one, else the first word.
    pub(crate) fn split(mut words: Vec<String>, command: Vec<OsString>) -> Result<Self, Failure> {
        if !command.is_empty() {
            return Ok(Self { server: Server::Command(command), rest: words });
        }
        if words.is_empty() {
            return Err(Failure::usage("name the server: a URL, a config file, or `-- COMMAND` at the end"));
        }
        let first = words.remove(0);
        Ok(Self { server: Server::of(first)?, rest: words })
    }
}

impl Server {
    fn of(word: String) -> Result<Self, Failure> {
        let scheme = word.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
                Ok(Self::Url(word))
            }
            // The rest may hold a password.
            Some(scheme) => Err(Failure::usage(format!(
                "`{scheme}://...` is no MCP server; use `http://` or `https://`, or a config file"
            ))),
            // That a config file is missing is told by `serve`, as for any other command.
            None if Path::new(&word).is_file() || word.ends_with(".toml") => Ok(Self::Config(word)),
            None => Err(Failure::usage(format!(
                "`{word}` is neither a file nor a URL; a URL begins with `http://`, a command follows `--` at the end"
            ))),
        }
    }

    /// Connects, showing the progress of calls where a person is looking.
    pub(crate) async fn connect(
        &self,
        headers: Vec<(String, String)>,
        timeout: Option<Duration>,
    ) -> Result<Client, Failure> {
        let mut options = ConnectOptions { headers, ..ConnectOptions::default() };
        if let Some(timeout) = timeout {
            (options.timeout, options.opening) = (timeout, timeout);
        }
        if io::stderr().is_terminal() {
            options.on_progress = Some(Arc::new(|progress: &Progress| output::line(&told(progress))));
        }
        let target = match self {
            Self::Url(url) => Target::Http { url: url.clone() },
            Self::Command(argv) => Target::Command { argv: argv.clone(), stderr: ChildStderr::Inherit },
            Self::Config(file) => Target::Command { argv: own_serve(file)?, stderr: ChildStderr::Keep },
        };
        Client::connect(target, options).await.map_err(|error| self.failed(error))
    }

    /// Says whose failure an error of the client is.
    pub(crate) fn failed(&self, error: ClientError) -> Failure {
        match self {
            Self::Config(_) => Failure::Config(Box::new(error)),
            Self::Url(_) | Self::Command(_) => Failure::Client(Box::new(error)),
        }
    }
}

/// The command that serves a config file on stdio.
fn own_serve(file: &str) -> Result<Vec<OsString>, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::usage(format!("this program's own file is not known: {error}")))?;
    let mut argv = vec![program.into_os_string()];
    argv.extend(["serve", "--stdio", "-c", file].map(OsString::from));
    Ok(argv)
}

fn told(progress: &Progress) -> String {
    let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
    let message = progress.message.as_deref().map(|message| format!(" {message}")).unwrap_or_default();
    table::printable(&format!("progress {}{total}{message}", progress.progress))
}

/// Reads the values of `--header`.
pub(crate) fn headers(
    texts: &[String],
    server: &Server,
    values: &mut Values,
) -> Result<Vec<(String, String)>, Failure> {
    if !texts.is_empty() && !matches!(server, Server::Url(_)) {
        return Err(Failure::usage(
            "`--header` goes with a URL; a config file or a command is spoken to without HTTP",
        ));
    }
    let read = |text: &String| {
        let (name, value) = text.split_once(':').ok_or_else(|| {
            Failure::usage(
                "`--header` is written `NAME: VALUE`, such as `Authorization: @token.txt`; no `:` was found",
            )
        })?;
        Ok((name.trim().to_owned(), values.read(value.trim())?))
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str], command: &[&str]) -> Result<Parts, Failure> {
        Parts::split(
            words.iter().map(|word| (*word).to_owned()).collect(),
            command.iter().map(OsString::from).collect(),
        )
    }

    #[test]
    fn the_server_comes_first_or_is_a_command_at_the_end() {
        let parts = split(&["http://127.0.0.1:1/mcp", "t", "a=1"], &[]).unwrap();
        assert_eq!((parts.server, parts.rest.len()), (Server::Url("http://127.0.0.1:1/mcp".to_owned()), 2));
        let parts = split(&["t", "a=1"], &["server", "--flag"]).unwrap();
        assert_eq!(
            (parts.server, parts.rest.len()),
            (Server::Command(vec!["server".into(), "--flag".into()]), 2)
        );
        assert_eq!(split(&["missing.toml"], &[]).unwrap().server, Server::Config("missing.toml".to_owned()));
        for wrong in [&["localhost:3000/mcp"][..], &["postgres://u:secret@h/d"], &[]] {
            let Err(Failure::Usage(text)) = split(wrong, &[]) else { panic!("{wrong:?} was accepted") };
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn headers_are_read_for_urls_only() {
        let url = Server::Url("http://h/".to_owned());
        let texts = ["Authorization:  Bearer @x ".to_owned(), "X-At: @@y".to_owned()];
        let read = headers(&texts, &url, &mut Values::default()).unwrap();
        assert_eq!(
            read,
            [("Authorization".to_owned(), "Bearer @x".to_owned()), ("X-At".to_owned(), "@y".to_owned())]
        );
        assert!(headers(&["no colon".to_owned()], &url, &mut Values::default()).is_err());
        assert!(headers(&texts, &Server::Config("f".to_owned()), &mut Values::default()).is_err());
    }
}
