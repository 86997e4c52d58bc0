//! `trunkline secret`: makes keys, seals secrets for the config file, opens them, and takes a new key for all of a file.
//!
//! No secret is ever taken from the command line: it comes from the standard input or a file. Exit codes: 2 for what cannot be done
//! as it was asked, 69 when something cannot be read or written, 77 when a secret was sealed for another key, 78 when the file of keys
//! or a sealed secret has to be seen to.

mod rotate;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use trunkline_guard::redact::age::{self, Identity, OpenError, Recipient, Sealing};

use super::Output;
use crate::exit::{Code, Failed};
use crate::identity::{self, IdentityError};
use crate::output;

/// The arguments of `secret`.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key, in a file that nobody else can read, and print the recipient that others seal for.
    Keygen(Common),
    /// Seal the secret on the standard input, and print the reference to write into the config file.
    Seal(SealArgs),
    /// Open something sealed on the standard input: a reference, a field of a result, or a file of age.
    Unseal(UnsealArgs),
    /// Make a new key, and seal every secret of the config file for it.
    Rotate(RotateArgs),
}

/// What all of them take.
#[derive(Debug, Args)]
struct Common {
    /// The config file; `trunkline.key` beside it holds the key.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// The file of keys. Default: what `TRUNKLINE_IDENTITY` names, else `trunkline.key` beside the config file.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

#[derive(Debug, Args)]
struct SealArgs {
    /// `@FILE` reads the secret from a file, `@-` from the standard input. One line break at its end is dropped.
    #[arg(value_name = "@FILE", default_value = "@-")]
    from: String,
    /// Who can open it: a recipient, `age1...`; repeatable. Default: the first key of the file of keys.
    #[arg(long = "to", value_name = "RECIPIENT")]
    to: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct UnsealArgs {
    /// `@FILE` reads what is sealed from a file, `@-` from the standard input.
    #[arg(value_name = "@FILE", default_value = "@-")]
    from: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// Leave the old key in the file of keys, for other files or machines that still need it.
    #[arg(long)]
    keep_old: bool,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// What kept it from doing its work, with the exit code that leads to.
pub(crate) fn run(args: SecretArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Keygen(args) => keygen(&args),
        Action::Seal(args) => seal(&args),
        Action::Unseal(args) => unseal(&args),
        Action::Rotate(args) => rotate::run(&args.common, args.keep_old),
    }?;
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn identity(&self) -> PathBuf {
        let folder = self.config.parent().filter(|folder| !folder.as_os_str().is_empty());
        let default =
            || identity::path(&|name| std::env::var_os(name), folder.unwrap_or_else(|| Path::new(".")));
        self.identity.clone().unwrap_or_else(default)
    }
}

fn keygen(args: &Common) -> anyhow::Result<()> {
    let path = args.identity();
    let made = new_key()?;
    identity::create(&path, &identity::entry(&made)).map_err(|error| {
        let shown = path.display();
        if error.kind() == io::ErrorKind::AlreadyExists {
            let message = format!("`{shown}` is there already, and what was sealed for its key would be lost; `trunkline secret rotate` makes a new key, `--identity` names another file");
            return Failed::new(Code::Usage, message);
        }
        Failed::new(Code::Unavailable, format!("`{shown}` cannot be written: {error}"))
    })?;
    let (recipient, file) = (made.recipient().to_string(), path.display().to_string());
    if args.output == Output::Json {
        output::result(&json!({ "recipient": recipient, "identity": file }).to_string());
        return Ok(());
    }
    output::line(&format!(
        "the key is in `{file}`: keep a copy where it is safe, and keep it out of version control; its recipient:"
    ));
    output::result(&recipient);
    Ok(())
}

fn new_key() -> anyhow::Result<Identity> {
    Identity::random().map_err(|error| Failed::new(Code::Unavailable, error.to_string()).into())
}

fn seal(args: &SealArgs) -> anyhow::Result<()> {
    let recipients = recipients(args)?;
    let mut secret = input(&args.from, "the secret", MOST_SECRET)?;
    drop_line_break(&mut secret);
    if secret.is_empty() {
        let message = "there is nothing to seal: the secret is empty";
        return Err(Failed::new(Code::Usage, message).into());
    }
    if std::str::from_utf8(&secret).is_err() {
        let message = "the secret is no UTF-8 text, which values of the config file are; encode it, or use the program `age`";
        return Err(Failed::new(Code::Usage, message).into());
    }
    let line = sealed(&recipients, &secret)?;
    let reference = format!("${{sealed:{line}}}");
    match args.common.output {
        Output::Json => output::result(&json!({ "sealed": line, "reference": reference }).to_string()),
        Output::Text => output::result(&reference),
    }
    Ok(())
}

/// More is no secret of a config file.
const MOST_SECRET: u64 = 1024 * 1024;
/// What is sealed is a third longer as text.
const MOST_SEALED: u64 = 24 * 1024 * 1024;

fn sealed(recipients: &[Recipient], secret: &[u8]) -> anyhow::Result<String> {
    let sealed = Sealing::new(recipients).and_then(|sealing| sealing.seal_line(secret));
    sealed.map_err(|error| Failed::new(Code::Unavailable, error.to_string()).into())
}

fn recipients(args: &SealArgs) -> anyhow::Result<Vec<Recipient>> {
    if args.to.is_empty() {
        let all = identity::read(&args.common.identity()).map_err(unusable)?;
        return Ok(all.first().map(Identity::recipient).into_iter().collect());
    }
    // What is no recipient may be a secret, so that it is not shown.
    let all = args.to.iter().map(|text| text.trim().parse());
    all.collect::<Result<_, _>>()
        .map_err(|error: age::BadKey| Failed::new(Code::Usage, error.to_string()).into())
}

fn unseal(args: &UnsealArgs) -> anyhow::Result<()> {
    let identities = identity::read(&args.common.identity()).map_err(unusable)?;
    let input = input(&args.from, "what is sealed", MOST_SEALED)?;
    let secret = age::open(inner(&input), &identities).map_err(not_opened)?;
    if args.common.output == Output::Json {
        let text = String::from_utf8(secret).map_err(|_| {
            Failed::new(
                Code::Usage,
                "what was sealed is no UTF-8 text, which JSON is; leave `--output json` out",
            )
        })?;
        output::result(&json!({ "secret": text }).to_string());
        return Ok(());
    }
    let mut out = io::stdout().lock();
    // To the byte, unless a person looks at it.
    let end: &[u8] = if io::stdout().is_terminal() { b"\n" } else { b"" };
    let written = out.write_all(&secret).and_then(|()| out.write_all(end)).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed::new(Code::Unavailable, format!("the secret cannot be written: {error}")).into())
        }
        _ => Ok(()),
    }
}

/// Takes a reference or a quoted value apart; everything else is as it is.
fn inner(input: &[u8]) -> &[u8] {
    let Ok(text) = std::str::from_utf8(input) else { return input };
    let text = text.trim().trim_matches(['"', '\'']);
    let reference = text.strip_prefix("${sealed:").and_then(|rest| rest.strip_suffix('}'));
    reference.unwrap_or(text).as_bytes()
}

/// Reads what `@FILE` or `@-` names.
fn input(from: &str, what: &str, most: u64) -> anyhow::Result<Vec<u8>> {
    let Some(path) = from.strip_prefix('@') else {
        let message = format!(
            "{what} is never taken from the command line, where others and the shell's history see it; write it to the standard input, or name a file as `@FILE`"
        );
        return Err(Failed::new(Code::Usage, message).into());
    };
    let mut bytes = Vec::new();
    let read = if path == "-" {
        if io::stdin().is_terminal() {
            output::line(&format!("reading {what} from the terminal; end it with Ctrl-D"));
        }
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failed::new(Code::Unavailable, format!("`@{path}` cannot be read: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(Failed::new(Code::Usage, format!("`@{path}` has more than {most} bytes")).into());
    }
    Ok(bytes)
}

/// As `${file:PATH}` does.
fn drop_line_break(bytes: &mut Vec<u8>) {
    if bytes.pop_if(|byte| *byte == b'\n').is_some() {
        bytes.pop_if(|byte| *byte == b'\r');
    }
}

fn unusable(error: IdentityError) -> anyhow::Error {
    Failed::new(Code::Configuration, error.to_string()).into()
}

fn not_opened(error: OpenError) -> anyhow::Error {
    let code = if error == OpenError::NoMatch { Code::Denied } else { Code::Configuration };
    Failed::new(code, error.to_string()).into()
}
