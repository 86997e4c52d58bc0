//! `trunkline explain`: which rule allows or denies something, where each role came from, and what would change the answer.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use trunkline_guard::authenticate::keys::Absent;
use trunkline_guard::authorize::{Scopes, Thing, Verdict};
use trunkline_guard::limit::LimitState;
use trunkline_service::authenticate::{Access, Credentials};
use trunkline_service::{Caller, DeniedKind, Proof};

use super::Output;
use super::call::arguments;
use super::policy::ground::Ground;
use super::tools::values::Values;
use crate::exit::{Code, Failed};
use crate::guards::Guards;
use crate::output;

/// The largest token that is read, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The config file.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    /// For a caller with this role, whatever gave it to them; repeatable. Scopes are taken for granted, claims are unknown.
    #[arg(long = "as", value_name = "ROLE", conflicts_with = "token_file")]
    roles: Vec<String>,
    /// For the caller whose token or API key is in this file; `-` for the standard input. Without `--as` and this: for the
    /// local user.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Reach no database: the tools are taken as the file declares them.
    #[arg(long)]
    offline: bool,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
    /// The tool, or `prompts:NAME`, or `resources:URI`.
    tool: String,
    /// Arguments of the call, as `trunkline call` takes them.
    #[arg(value_name = "K=V")]
    arguments: Vec<String>,
}

/// Explains; the exit code is 0 when it is allowed and 77 when it is not.
///
/// # Errors
/// The command line or the file is wrong, or the token cannot be judged.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let Some(mut ground) = Ground::of(&args.config, args.offline).await? else {
        return Ok(Code::Configuration.into());
    };
    for role in &args.roles {
        ground.known_role(role)?;
    }
    let (caller, scopes) = match &args.token_file {
        Some(file) => (by_token(&mut ground, file).await?, Scopes::Known),
        None if args.roles.is_empty() => (ground.explainer.policy().local(), Scopes::Known),
        None => (Arc::new(with_roles(&ground, &args.roles)), Scopes::Assumed),
    };
    let thing = thing(&args.tool);
    let arguments = match read_arguments(&ground, thing, args.arguments) {
        Ok(arguments) => arguments,
        Err(failure) => return Ok(failure.report()),
    };
    let explanation = ground.explainer.explain(&caller, scopes, thing, arguments.as_bytes());
    match args.output {
        Output::Json => output::result(&serde_json::to_string(&explanation)?),
        Output::Text => output::result(&show::text(&explanation, thing, scopes)),
    }
    Ok(match explanation.verdict {
        Verdict::Allowed => ExitCode::SUCCESS,
        _ => Code::Denied.into(),
    })
}

/// Tools have no colon in their names.
fn thing(text: &str) -> Thing<'_> {
    match text.split_once(':') {
        Some(("tools" | "tool", name)) => Thing::Tool(name),
        Some(("prompts" | "prompt", name)) => Thing::Prompt(name),
        Some(("resources" | "resource", uri)) => Thing::Resource(uri),
        _ => Thing::Tool(text),
    }
}

fn with_roles(ground: &Ground, roles: &[String]) -> Caller {
    // As of a key that was made with them: nothing else is known.
    ground.explainer.policy().assigned(Caller {
        subject: "somebody".into(),
        roles: roles.iter().map(|role| role.as_str().into()).collect(),
        proof: Proof::Key { id: "".into(), name: "".into() },
        ..Caller::default()
    })
}

fn read_arguments(
    ground: &Ground,
    thing: Thing<'_>,
    words: Vec<String>,
) -> Result<String, super::tools::failure::Failure> {
    let pairs = arguments::pairs(words.into_iter(), &mut Values::default())?;
    let catalog = ground.explainer.catalog();
    let schema = match thing {
        Thing::Tool(name) => catalog.find(name.as_bytes()).and_then(|number| catalog.entry(number)),
        _ => None,
    };
    let schema: Option<&Value> = schema.map(|entry| &entry.definition.input_schema);
    Ok(arguments::typed(&pairs, schema)?.get().to_owned())
}

/// Judges the token in a file as the endpoint would. Neither it nor any part of it is printed.
async fn by_token(ground: &mut Ground, file: &std::path::Path) -> anyhow::Result<Arc<Caller>> {
    let token = read_token(file)?;
    let said = std::mem::take(&mut ground.config.guards);
    let (server, state) = (&ground.config.server, LimitState::new());
    let guards = Guards::new(said, server, &ground.served, None, Absent::Refuse, &state).await;
    let Access::Guarded { authenticator, .. } = guards.access() else {
        let message = "the file has no `[auth]`, so that no token is accepted; leave `--token-file` out for the local user";
        return Err(Failed::new(Code::Usage, message).into());
    };
    let header = format!("Bearer {token}");
    let credentials = Credentials { authorization: Some(header.as_bytes()), api_key: None };
    let judged = authenticator.authenticate(credentials).await;
    guards.end().await;
    judged.map_err(|denied| {
        let code = match denied.kind() {
            DeniedKind::Unavailable => Code::Unavailable,
            _ => Code::Denied,
        };
        Failed::new(code, format!("the token is not accepted: {}", crate::exit::chain(&denied))).into()
    })
}

fn read_token(file: &std::path::Path) -> anyhow::Result<String> {
    use std::io::Read as _;

    let unreadable = |error: std::io::Error| {
        Failed::new(Code::Usage, format!("the token file `{}` cannot be read: {error}", file.display()))
    };
    let mut text = String::new();
    let read = if file == std::path::Path::new("-") {
        std::io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).map_err(unreadable)?.take(MAX_TOKEN).read_to_string(&mut text)
    };
    read.map_err(unreadable)?;
    let token = text.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    if token.is_empty() {
        return Err(Failed::new(Code::Usage, format!("there is no token in `{}`", file.display())).into());
    }
    Ok(token.to_owned())
}
