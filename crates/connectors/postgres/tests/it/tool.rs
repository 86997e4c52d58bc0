//! Declared tools over a database, called by the bytes of a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_postgres::{Postgres, PostgresFile};
use trunkline_protocol::{Method, Revision, envelope};
use trunkline_service::{Caller, Request, Service as _, TimeAllowed};
use trunkline_sql::{Database, SqlConnector, Tool};

/// Makes a connector with tools as a file would say them, and learns their statements.
pub(crate) async fn connector(url: &str, tools: &[(&str, Json)]) -> Arc<SqlConnector<Postgres>> {
    let section = json!({ "url": url, "max-bytes": "150KB" });
    let file: PostgresFile = serde_json::from_value(section).unwrap();
    let (database, options) = file.resolve("shop").unwrap();
    let tools = tools.iter().map(|(name, tool)| {
        let mut tool = tool.clone();
        tool["connector"] = "shop".into();
        Tool::resolve(name, serde_json::from_value(tool).unwrap(), &options, Postgres::DIALECT).unwrap()
    });
    let tools = tools.collect();
    let connector = SqlConnector::new("shop", database, options, tools);
    crate::support::assert_learned(&connector).await;
    connector
}

/// Calls the tool of that number and returns the text of the result, which is `structuredContent`, or that of a failure.
pub(crate) async fn call(
    connector: &SqlConnector<Postgres>,
    target: u32,
    arguments: &str,
) -> Result<String, String> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{arguments}}}}}"#
    );
    let body = Bytes::from(body);
    let (_, scanned) = envelope::scan(&body).unwrap();
    let request = Request::new(body, &scanned, Method::ToolsCall, Revision::LATEST, Caller::local(), 1);
    let mut request = request.with_time(TimeAllowed::Within(Duration::from_secs(20)));
    request.set_target(target);
    let reply = connector.call(request).await.unwrap();
    let members = format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap());
    let members: Json = serde_json::from_str(&members).unwrap();
    let text = members["content"][0]["text"].as_str().unwrap().to_owned();
    if reply.is_error() {
        return Err(text);
    }
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), members["structuredContent"]);
    Ok(text)
}
