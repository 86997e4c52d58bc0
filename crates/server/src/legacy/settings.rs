//! What a session sets for its later requests: the level of log messages, and the resources it wants to hear of.
//!
//! Spec: 2025-11-25 server/utilities/logging and server/resources#subscriptions.

use std::time::Duration;

use trunkline_protocol::{LogLevel, Method, member_at};
use trunkline_service::shared::SettingsChange;
use trunkline_service::{Failure, FailureKind, Outcome, Reply};

use super::call::Call;
use crate::admit;

/// Answers `logging/setLevel`, `resources/subscribe` or `resources/unsubscribe`.
pub(super) async fn change(call: &Call) -> Outcome {
    let change = match call.method {
        Method::LoggingSetLevel => SettingsChange::Level(level(call)?),
        Method::ResourcesSubscribe => SettingsChange::Subscribe(resource(call, Known::Needed)?),
        _ => SettingsChange::Unsubscribe(resource(call, Known::NotNeeded)?),
    };
    let session = &call.session;
    let changed = call.shared.change_settings(session.number, session.expires, change).await;
    changed.map_err(|_| {
        let text =
            "nothing more can be remembered for this session; unsubscribe from something, or try again later";
        Failure::new(FailureKind::Overloaded, text).with_retry_after(Duration::from_secs(1))
    })?;
    Ok(Reply::from_members(Vec::new()))
}

fn level(call: &Call) -> Result<LogLevel, Failure> {
    if call.endpoint.capabilities.get("logging").is_none() {
        return Err(no_method(call, "this server sends no log messages"));
    }
    let level = member_at(&call.body, call.envelope.params, "level").text(&call.body);
    level.and_then(|name| LogLevel::parse(&name)).ok_or_else(|| {
        let names = LogLevel::ALL.map(LogLevel::as_str).join(", ");
        Failure::new(FailureKind::InvalidParams, format!("`level` must be one of {names}"))
    })
}

/// Whether a resource must exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Needed,
    /// It may have gone since.
    NotNeeded,
}

fn resource(call: &Call, known: Known) -> Result<Box<str>, Failure> {
    let capabilities = call.endpoint.capabilities_for(&call.caller);
    let resources = capabilities.get("resources");
    if resources.and_then(|resources| resources.get("subscribe")) != Some(&true.into()) {
        return Err(no_method(call, "no resource of this server tells of changes"));
    }
    let Some(uri) = call.envelope.uri.text(&call.body) else {
        return Err(Failure::new(
            FailureKind::InvalidParams,
            "`uri` must be the URI of a resource, a string",
        ));
    };
    // One that exists but never tells of changes is taken: clients subscribe to all they read.
    let exists = || call.endpoint.catalog_for(&call.caller).readable(&uri).is_some();
    if known == Known::Needed && !exists() {
        return Err(Failure::resource_not_found(&uri));
    }
    Ok(uri.into())
}

fn no_method(call: &Call, why: &str) -> Failure {
    admit::method_not_found(call.method.as_str().as_bytes(), &format!(": {why}"))
}
