//! `trunkline keys`: makes, lists, replaces and revokes the API keys of an endpoint.
//!
//! A key goes to stdout, once, and nowhere else; no key is ever taken from the command line. Exit codes: 2 for what cannot be
//! done as it was asked (no such key or role, a name that has a key), 69 when the store does not answer, 78 when the file or
//! the store has to be seen to.

mod settings;
mod time;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use trunkline_guard::authenticate::keys::{
    Absent, Entry, IssueError, KeyId, KeyStore, Order, State, StoreError, find, issue, now, renew, revoke,
};
use trunkline_service::{Chain, nearest};

use super::Output;
use crate::exit::{Code, Failed};
use crate::output;
use settings::Settings;

/// The arguments of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key. It is printed once, on stdout, and only its hash is kept.
    Create(CreateArgs),
    /// List all keys, without what would open anything.
    List(Common),
    /// Make a key in the place of another, which goes on for a while.
    Rotate(RotateArgs),
    /// End a key, on every node within a second.
    Revoke(RevokeArgs),
}

/// What all of them take.
#[derive(Debug, Args)]
struct Common {
    /// The config file, whose `[auth.keys]` says where keys are kept.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Who will hold the key: the subject of the caller. One name is one caller.
    name: String,
    /// A role of the file that the key has; repeatable.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A scope that the key has; repeatable.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// After how long it ends, like `90d` or `12h`. Default: never.
    #[arg(long, value_name = "TIME", value_parser = time::duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// The id of the key, or the name of who holds it.
    #[arg(value_name = "ID|NAME")]
    key: String,
    /// How long the old key goes on; `0` ends it at once.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time::duration_or_none)]
    overlap: Duration,
    /// After how long the new one ends. Default: it lasts as long as the old one did.
    #[arg(long, value_name = "TIME", value_parser = time::duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// The id of the key, or the name of who holds it, which means all keys of that name.
    #[arg(value_name = "ID|NAME")]
    key: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
///
/// # Errors
/// What kept it from doing its work, with the exit code that leads to.
pub(crate) async fn run(args: KeysArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Create(args) => create(args).await,
        Action::List(args) => list(args).await,
        Action::Rotate(args) => rotate(args).await,
        Action::Revoke(args) => end(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let CreateArgs { name, roles, scopes, expires, common } = args;
    let Some(settings) = Settings::read(&common.config)? else { return Ok(Code::Configuration.into()) };
    let (roles, scopes) = (without_repeats(roles), without_repeats(scopes));
    check_roles(&roles, &settings)?;
    let store = open(&settings, Absent::Create)?;
    let order = Order { name, roles: roles.clone(), scopes, expires };
    let issued = issue(&*store, order).await.map_err(failed)?;
    tokio::time::sleep(SEEN_AFTER).await;
    if roles.is_empty() && !settings.roles.is_empty() {
        output::line(&format!(
            "warning: the key has no role, so it has only those of the file whose `match` fits, like `match = {{ key = \"{}\" }}`",
            words::plain(&issued.name)
        ));
    }
    words::made(&issued, None, common.output);
    Ok(ExitCode::SUCCESS)
}

async fn list(args: Common) -> anyhow::Result<ExitCode> {
    let Some(settings) = Settings::read(&args.config)? else { return Ok(Code::Configuration.into()) };
    let store = open(&settings, Absent::Refuse)?;
    let mut entries = match store.changes(None).await {
        Ok(all) => all.map(|all| all.entries).unwrap_or_default(),
        Err(error @ StoreError::Absent { .. }) => {
            output::line(&error.to_string());
            Vec::new()
        }
        Err(error) => return Err(failed(error.into())),
    };
    entries.sort_by(|one, other| (&one.name, one.created).cmp(&(&other.name, other.created)));
    words::listed(&entries, now(), args.output);
    Ok(ExitCode::SUCCESS)
}

async fn rotate(args: RotateArgs) -> anyhow::Result<ExitCode> {
    let RotateArgs { key, overlap, expires, common } = args;
    refuse_key(&key)?;
    let Some(settings) = Settings::read(&common.config)? else { return Ok(Code::Configuration.into()) };
    let store = open(&settings, Absent::Refuse)?;
    let entries = wanted(&*store, &key).await?;
    // Of a name, the key that nothing took the place of; else the store says what is the matter with the newest.
    let active = entries.iter().find(|entry| entry.state(now()) == State::Active);
    let Some(old) = active.or(entries.first()) else { return Ok(Code::Usage.into()) };
    let issued = renew(&*store, old, overlap, expires).await.map_err(failed)?;
    let until = now().saturating_add(overlap.as_secs());
    tokio::time::sleep(SEEN_AFTER).await;
    let until = old.expires.map_or(until, |end| end.min(until));
    words::made(&issued, Some((old, until)), common.output);
    Ok(ExitCode::SUCCESS)
}

async fn end(args: RevokeArgs) -> anyhow::Result<ExitCode> {
    let RevokeArgs { key, common } = args;
    refuse_key(&key)?;
    let Some(settings) = Settings::read(&common.config)? else { return Ok(Code::Configuration.into()) };
    let store = open(&settings, Absent::Refuse)?;
    let mut entries = wanted(&*store, &key).await?;
    entries.retain(|entry| entry.revoked.is_none());
    revoke(&*store, &entries).await.map_err(|error| failed(error.into()))?;
    words::revoked(&entries, common.output);
    Ok(ExitCode::SUCCESS)
}

fn open(settings: &Settings, absent: Absent) -> anyhow::Result<Arc<dyn KeyStore>> {
    settings.store(absent).ok_or_else(|| {
        let message =
            "the connector that `store` under `[auth.keys]` names cannot be used; `trunkline check` says why";
        Failed::new(Code::Configuration, message).into()
    })
}

async fn wanted(store: &dyn KeyStore, key: &str) -> anyhow::Result<Vec<Entry>> {
    match find(store, key).await {
        Err(IssueError::Store(StoreError::Absent { what })) => {
            let message = format!("no key was made yet: {what} is not there");
            Err(Failed::new(Code::Usage, message).into())
        }
        found => found.map_err(failed),
    }
}

/// Refuses a key where an id is wanted: what is on a command line is seen by others, and kept by shells.
fn refuse_key(word: &str) -> anyhow::Result<()> {
    let Some(id) = KeyId::of_key(word) else { return Ok(()) };
    let message = format!(
        "this is a key, and whoever looks at this machine's processes or at the shell's history has it now; revoke it by its id: \
         `trunkline keys revoke {id}`"
    );
    Err(Failed::new(Code::Usage, message).into())
}

fn check_roles(roles: &[String], settings: &Settings) -> anyhow::Result<()> {
    let known = || settings.roles.iter().map(String::as_str);
    let Some(unknown) = roles.iter().find(|role| !settings.roles.contains(role)) else { return Ok(()) };
    let help = match nearest(unknown, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if settings.roles.is_empty() => {
            "the file has no `[roles]`, so every key may use all that is served; leave `--role` out, or declare it".to_owned()
        }
        None => {
            let known: Vec<String> = known().take(MOST_ROLES_TOLD).map(|role| format!("`{role}`")).collect();
            format!("the file has {}", known.join(", "))
        }
    };
    let message = format!("the file has no role `{}`; {help}", words::plain(unknown));
    Err(Failed::new(Code::Usage, message).into())
}

fn without_repeats(mut words: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// Gives an error the exit code that it leads to.
fn failed(error: IssueError) -> anyhow::Error {
    let code = match &error {
        IssueError::Store(StoreError::Unavailable { .. }) | IssueError::Random(_) => Code::Unavailable,
        IssueError::Store(StoreError::Refused { .. }) => Code::Configuration,
        _ => Code::Usage,
    };
    Failed::new(code, Chain(&error).to_string()).into()
}

/// Servers look at their store four times a second: whoever uses a new key at once should find that they know it.
const SEEN_AFTER: Duration = Duration::from_millis(400);

const MOST_ROLES_TOLD: usize = 20;
