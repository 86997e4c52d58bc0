//! Drives every feature of the example server `everything` with the official Rust SDK.
//!
//! The plan is JSON in the first argument, the findings are JSON on stdout; `peers/everything.py` says what is in both.

#![expect(deprecated, reason = "sampling, roots, logging and the subscriptions of old must go on working")]

mod features;
mod handler;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::ProtocolVersion;
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use handler::Handler;

/// What a feature ends in.
type Found = Result<Value, Box<dyn Error>>;

const ONE_FEATURE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Debug, Deserialize)]
struct Plan {
    era: Era,
    url: Option<String>,
    command: Option<Vec<String>>,
    features: Vec<String>,
    calls: Map<String, Value>,
    reads: Vec<String>,
    gets: Map<String, Value>,
    watched: String,
    triggers: Map<String, Value>,
    form: Value,
    sampled: String,
    root: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Era {
    Modern,
    Legacy,
}

/// The SDK has no way to do this; the text says why.
#[derive(Debug)]
struct NotOffered(&'static str);

impl std::fmt::Display for NotOffered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for NotOffered {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let plan: Plan = serde_json::from_str(&std::env::args().nth(1).ok_or("the plan is missing")?)?;
    let plan = Arc::new(plan);
    let client = connect(Arc::clone(&plan)).await?;
    let server = client.peer_info().ok_or("the server said nothing of itself")?;
    let mut findings = Map::new();
    for name in &plan.features {
        findings.insert(name.clone(), look(name, &client).await);
    }
    let about = json!({
        "revision": server.protocol_version,
        "server": server.server_info,
        "features": findings,
    });
    client.cancel().await?;
    println!("{about}");
    Ok(())
}

async fn connect(plan: Arc<Plan>) -> Result<RunningService<RoleClient, Handler>, Box<dyn Error>> {
    // "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
    let lifecycle = match plan.era {
        Era::Modern => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
        Era::Legacy => ClientLifecycleMode::Initialize,
    };
    let handler = Handler::new(Arc::clone(&plan))?;
    if let Some(url) = &plan.url {
        let transport = StreamableHttpClientTransport::from_uri(url.as_str());
        return Ok(handler.serve_with_lifecycle(transport, lifecycle).await?);
    }
    let [program, arguments @ ..] = plan.command.as_deref().unwrap_or_default() else {
        return Err("the plan has neither `url` nor `command`".into());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(handler.serve_with_lifecycle(TokioChildProcess::new(command)?, lifecycle).await?)
}

/// Runs one feature, so that its faults hide no others.
async fn look(name: &str, client: &RunningService<RoleClient, Handler>) -> Value {
    match tokio::time::timeout(ONE_FEATURE, features::run(name, client)).await {
        Ok(Ok(found)) => json!({ "found": found }),
        Ok(Err(error)) => match error.downcast_ref::<NotOffered>() {
            Some(reason) => json!({ "notOffered": reason.0 }),
            None => json!({ "failed": format!("{error}; {error:?}") }),
        },
        Err(_) => json!({ "failed": format!("not within {ONE_FEATURE:?}") }),
    }
}
