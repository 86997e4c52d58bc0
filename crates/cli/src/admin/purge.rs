//! `POST /cache/purge`: throws away what is kept, here and on every node.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use trunkline_guard::cache::{Purge, PurgeError};

use super::{Admin, PATIENCE, bears};

/// Most bytes of what is asked.
const MAX_BODY: usize = 4096;

/// What is to be thrown away: exactly one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Asked {
    all: bool,
    tool: Option<String>,
    connector: Option<String>,
    tag: Option<String>,
}

impl Asked {
    fn purge(self) -> Option<Purge> {
        match self {
            Self { all: true, tool: None, connector: None, tag: None } => Some(Purge::All),
            Self { all: false, tool: Some(name), connector: None, tag: None } => Some(Purge::Tool(name)),
            Self { all: false, tool: None, connector: Some(name), tag: None } => Some(Purge::Connector(name)),
            Self { all: false, tool: None, connector: None, tag: Some(name) } => Some(Purge::Tag(name)),
            _ => None,
        }
    }
}

pub(super) fn route() -> MethodRouter<Arc<Admin>> {
    post(purge)
}

async fn purge(State(admin): State<Arc<Admin>>, headers: HeaderMap, body: Body) -> Response {
    // It changes what is served: from this machine too, only who has the token may.
    match &admin.own_token {
        Some(token) if bears(&headers, token) => {}
        Some(_) => return answer(StatusCode::UNAUTHORIZED, "`[admin] token` is needed here"),
        None => return answer(StatusCode::FORBIDDEN, "set `[admin] token` to throw away what is kept"),
    }
    // Only now, and not for ever: whoever has no token holds no place with a body that does not come.
    let Ok(body) = tokio::time::timeout(PATIENCE, to_bytes(body, MAX_BODY)).await else {
        return answer(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    };
    let asked: Option<Asked> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let Some(what) = asked.and_then(Asked::purge) else {
        let text =
            "send one of {\"all\":true}, {\"tool\":\"...\"}, {\"connector\":\"...\"} and {\"tag\":\"...\"}";
        return answer(StatusCode::BAD_REQUEST, text);
    };
    match admin.cache.purge(&what).await {
        Ok(()) => answer(StatusCode::OK, "done"),
        Err(error @ PurgeError::Unknown { .. }) => answer(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error) => answer(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn answer(status: StatusCode, message: &str) -> Response {
    let body = json!({ "message": message }).to_string();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
