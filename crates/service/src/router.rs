//! The innermost service: answers what the catalog can answer, and takes a tool call to the service that owns the tool.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use trunkline_protocol::{Kind, Method, Revision};

use crate::catalog::Catalog;
use crate::endpoint::ServerInfo;
use crate::failure::{Failure, FailureKind};
use crate::reply::{CacheScope, Hints, Reply};
use crate::request::Request;
use crate::{Answer, Outcome, Service, ready};

/// How long clients may keep lists and the discover result: short, as a reload may change them at any time.
pub const LIST_TTL: Duration = Duration::from_secs(60);

/// Routes requests by method and tool name.
#[derive(Debug)]
pub struct Router {
    catalog: Arc<Catalog>,
    discover: Bytes,
    list_ttl: Duration,
}

impl Router {
    /// Makes a router over the catalog. `list_ttl` says how long clients may keep the list of tools: [`LIST_TTL`] is a good
    /// value, zero one for a catalog that is about to change.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, info: &ServerInfo, list_ttl: Duration) -> Self {
        let mut discover = format!(
            "\"supportedVersions\":{},\"capabilities\":{}",
            json!([Revision::LATEST.as_str()]),
            json!({ "tools": {} })
        );
        if let Some(instructions) = &info.instructions {
            discover.push_str(&format!(",\"instructions\":{}", json!(instructions)));
        }
        Self { catalog, discover: discover.into(), list_ttl }
    }

    fn discover(&self) -> Outcome {
        Ok(Reply::from_shared(self.discover.clone()).with_hints(public(LIST_TTL)))
    }

    fn tools_list(&self, request: &Request) -> Outcome {
        let token = request.cursor();
        let text = token.text(request.body());
        if !token.is_nothing() && text.is_none() {
            return Err(Failure::new(FailureKind::InvalidParams, "`cursor` must be a string"));
        }
        let Some(page) = self.catalog.page(text.as_deref(), request.revision()) else {
            let text = "this cursor is unknown, or the list has changed since; start again without a cursor";
            return Err(Failure::new(FailureKind::InvalidParams, text));
        };
        Ok(Reply::from_shared(page).with_hints(public(self.list_ttl)))
    }

    fn call_tool(&self, mut request: Request) -> Answer<'_> {
        if !matches!(request.arguments_token().kind, Kind::Absent | Kind::Null | Kind::Object) {
            return ready(Err(Failure::new(FailureKind::InvalidParams, "`arguments` must be an object")));
        }
        let Some(number) = request.name().map(|name| self.catalog.find(&name)) else {
            return ready(Err(Failure::new(FailureKind::InvalidParams, "`name` must be the name of a tool")));
        };
        match number.and_then(|number| self.catalog.entry(number)) {
            Some(entry) => {
                request.set_target(entry.target);
                entry.service.call(request)
            }
            None => ready(Err(unknown_tool(&request))),
        }
    }
}

/// The one answer for a tool that does not exist, and later for one the caller has no role for.
fn unknown_tool(request: &Request) -> Failure {
    let name: String = request.name().unwrap_or_default().chars().take(64).collect();
    Failure::new(
        FailureKind::InvalidParams,
        format!("unknown tool `{name}`; `tools/list` tells which tools exist"),
    )
}

/// Hints for what is the same for every caller.
fn public(ttl: Duration) -> Hints {
    Hints { ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), scope: CacheScope::Public }
}

fn empty_list(members: &'static str) -> Outcome {
    let hints = public(LIST_TTL);
    Ok(Reply::from_shared(Bytes::from_static(members.as_bytes())).with_hints(hints))
}

impl Service for Router {
    fn call(&self, request: Request) -> Answer<'_> {
        match request.method() {
            Method::ToolsCall => self.call_tool(request),
            Method::ToolsList => ready(self.tools_list(&request)),
            Method::ServerDiscover => ready(self.discover()),
            // Some hosts list these although nothing declares them, and give up on an error.
            Method::ResourcesList => ready(empty_list("\"resources\":[]")),
            Method::ResourcesTemplatesList => ready(empty_list("\"resourceTemplates\":[]")),
            Method::PromptsList => ready(empty_list("\"prompts\":[]")),
            _ => ready(Err(Failure::new(FailureKind::MethodNotFound, "method not found"))),
        }
    }
}
