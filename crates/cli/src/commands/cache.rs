//! `trunkline cache purge`: has a server throw away what it keeps of answers, and with it every node that shares its store.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trunkline_sql::Severity;

use super::Output;
use crate::admin;
use crate::config::{self, Edge, Loaded};
use crate::exit::{Code, Failed, chain};
use crate::output;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of its answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// The arguments of `cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Throw away what is kept of answers, on every node that shares the store. It asks the server's admin listener, whose address and
    /// token the file has.
    Purge(PurgeArgs),
}

#[derive(Debug, Args)]
struct PurgeArgs {
    /// The config file of the server, whose `[admin]` has the address and the token.
    #[arg(short, long, default_value = "trunkline.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    what: What,
    /// The form of what is printed.
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    output: Output,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// What has that tag in the file.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// What is kept of that tool.
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// What is kept of that connector: of its tools and its resources.
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

impl What {
    fn body(&self) -> Value {
        match self {
            Self { tag: Some(tag), .. } => json!({ "tag": tag }),
            Self { tool: Some(tool), .. } => json!({ "tool": tool }),
            Self { connector: Some(connector), .. } => json!({ "connector": connector }),
            _ => json!({ "all": true }),
        }
    }

    fn words(&self) -> String {
        match self {
            Self { tag: Some(tag), .. } => format!("what has the tag `{tag}`"),
            Self { tool: Some(tool), .. } => format!("what was kept of the tool `{tool}`"),
            Self { connector: Some(connector), .. } => {
                format!("what was kept of the connector `{connector}`")
            }
            _ => "all that was kept".to_owned(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The file says nothing of a token (78), the server does not answer or cannot tell its neighbours yet (69), it does not let us (77), or
/// nothing has that name (1).
pub(crate) async fn run(args: CacheArgs) -> anyhow::Result<ExitCode> {
    let Action::Purge(PurgeArgs { config, what, output: form }) = args.action;
    let loaded = config::load(&config, Edge::Http(None))
        .map_err(|error| Failed::new(Code::Configuration, chain(&error)))?;
    let Loaded { document, config: said, mut problems } = loaded;
    // The rest of the file may be wrong.
    problems.retain(|problem| problem.severity == Severity::Wrong && problem.key.starts_with("admin"));
    if !problems.is_empty() {
        output::diagnostics(&problems, &document);
        return Ok(Code::Configuration.into());
    }
    let Some(token) = said.admin.token else {
        let message = format!(
            "`{}` has no `token` under `[admin]`, without which the server lets nobody change what it keeps",
            config.display()
        );
        return Err(Failed::new(Code::Configuration, message).into());
    };
    let address = reachable(said.admin.listen.unwrap_or(admin::DEFAULT_LISTEN));
    let answered = tokio::time::timeout(PATIENCE, ask(address, &token, &what.body())).await;
    let unanswered =
        |why: &str| Failed::new(Code::Unavailable, format!("`{address}` does not answer: {why}"));
    let answer = match answered {
        Ok(answer) => answer.map_err(|error| unanswered(&error.to_string()))?,
        Err(_) => return Err(unanswered("nothing came in time").into()),
    };
    let (status, message) = read(&answer).ok_or_else(|| {
        let message =
            format!("`{address}` answers something that is none of an admin listener of this version");
        Failed::new(Code::Protocol, message)
    })?;
    let code = match status {
        200 => None,
        401 | 403 => Some(Code::Denied),
        404 => Some(Code::Tool),
        503 => Some(Code::Unavailable),
        _ => Some(Code::Protocol),
    };
    if let Some(code) = code {
        return Err(Failed::new(code, message).into());
    }
    match form {
        Output::Json => output::result(&json!({ "purged": what.body() }).to_string()),
        Output::Text => output::result(&format!("thrown away: {}", what.words())),
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns where a listener on every address of this machine is reached from it.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Sends one request and returns the whole answer.
async fn ask(address: SocketAddr, token: &str, body: &Value) -> std::io::Result<Vec<u8>> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST /cache/purge HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Returns the status of an answer and what it says; `None` when it is none.
fn read(answer: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let message = serde_json::from_str::<Value>(body).ok();
    let message = message.as_ref().and_then(|body| body["message"].as_str()).map(str::to_owned);
    // Refusals of the listener itself are plain text.
    Some((status, message.unwrap_or_else(|| body.trim().to_owned())))
}
