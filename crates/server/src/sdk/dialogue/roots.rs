//! Asks the client which folders it works in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::capability::Need;
use super::question::{Question, ask};
use crate::sdk::Context;

/// A folder the client works in. Spec: 2026-07-28 client/roots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Root {
    /// Where it is: a `file://` URI. It comes from the client; check it before anything is opened there.
    pub uri: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What else the client says of it.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct ListRootsResult {
    roots: Vec<Root>,
}

impl Context {
    /// Asks the client for its roots, the folders it works in.
    ///
    /// A client that declared no roots ends the call with -32021; [`can_list_roots`](Self::can_list_roots) tells before.
    /// Deprecated in the protocol, and still answered by clients. Spec: 2026-07-28 client/roots.
    ///
    /// # Cancel safety
    /// A question that is dropped is not asked, or its answer is not looked at.
    pub async fn roots(&self) -> Vec<Root> {
        let question = Question {
            key: None,
            need: Need::Roots,
            method: "roots/list",
            params: Value::Object(Map::new()),
        };
        let read = |answer: &serde_json::value::RawValue| {
            serde_json::from_str::<ListRootsResult>(answer.get()).ok().map(|result| result.roots)
        };
        ask(self, Ok(question), read).await
    }
}
