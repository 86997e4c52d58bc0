//! Which arguments of a tool are mirrored in headers, learnt from the program's own list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use trunkline_protocol::param_header::{ParamHeader, find};
use trunkline_protocol::{Revision, meta};

use super::link::Link;

/// The mirrored arguments of every tool met so far.
pub(super) struct Tools {
    link: Arc<Link>,
    known: Mutex<HashMap<String, Arc<[ParamHeader]>>>,
}

/// Most pages of a list that are read.
const MAX_PAGES: usize = 50;

impl Tools {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, known: Mutex::default() }
    }

    /// Returns the mirrored arguments of the tool that `message` calls; none if it calls none.
    pub(super) async fn mirrored(&self, message: &Value) -> Arc<[ParamHeader]> {
        let name = message.pointer("/params/name").and_then(Value::as_str);
        let Some(name) = name.filter(|_| message["method"] == "tools/call") else { return Arc::default() };
        if let Some(params) = self.look_up(name) {
            return params;
        }
        self.learn().await;
        self.look_up(name).unwrap_or_default()
    }

    fn look_up(&self, name: &str) -> Option<Arc<[ParamHeader]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    async fn learn(&self) {
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let mut call = self.link.call(list(cursor.as_deref()));
            let Some(answer) = call.next().await else { return };
            let tools =
                answer.pointer("/result/tools").and_then(Value::as_array).cloned().unwrap_or_default();
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for tool in &tools {
                if let Some(name) = tool["name"].as_str() {
                    known.insert(name.to_owned(), find(&tool["inputSchema"]).unwrap_or_default().into());
                }
            }
            drop(known);
            cursor = answer.pointer("/result/nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return;
            }
        }
    }
}

fn list(cursor: Option<&str>) -> Value {
    let mut request = json!({
        "jsonrpc": "2.0",
        "id": 0,
        "method": "tools/list",
        "params": { "_meta": { meta::PROTOCOL_VERSION: Revision::LATEST.as_str(), meta::CLIENT_CAPABILITIES: {} } },
    });
    if let Some(cursor) = cursor {
        request["params"]["cursor"] = cursor.into();
    }
    request
}
