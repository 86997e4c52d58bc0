//! Results against what their tool promised.

use std::sync::Arc;

use serde_json::{Value, json};
use trunkline_guard::validate::{ResultsChecked, ResultsMeter, ResultsMode};
use trunkline_protocol::Method;
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::{Answer, Outcome, Reply, Request, Service, ready};

use super::calls::{definition, request, told};

/// Answers with structured content.
struct Answers(Option<&'static str>);

impl Service for Answers {
    fn call(&self, _: Request) -> Answer<'_> {
        let mut members = br#""content":[{"type":"text","text":"done"}]"#.to_vec();
        let start = members.len();
        if let Some(structured) = self.0 {
            members.extend_from_slice(br#","structuredContent":"#);
            members.extend_from_slice(structured.as_bytes());
        }
        let range = start..members.len();
        members.extend_from_slice(br#","isError":false"#);
        let reply = Reply::from_members(members);
        ready(Ok(if range.is_empty() { reply } else { reply.with_structured(range) }))
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "rows": { "type": "array", "items": { "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] } },
            "count": { "type": "integer", "default": 3 },
            "by_name": { "type": "object", "additionalProperties": { "type": "number" } },
        },
        "required": ["count"],
    })
}

async fn call(mode: ResultsMode, structured: Option<&'static str>) -> (Outcome, Arc<ResultsMeter>) {
    let tool = definition("search", json!({ "type": "object" }), Some(schema()));
    let Ok(checked) = ResultsChecked::new(Answers(structured), &tool, mode).unwrap() else {
        panic!("not checked")
    };
    let outcome = checked.call(request(Method::ToolsCall, r#"{"name":"search"}"#)).await;
    (outcome, Arc::clone(checked.meter()))
}

#[tokio::test]
async fn a_result_that_breaks_its_promise_is_not_sent_and_its_values_are_not_told() {
    for (structured, where_and_what) in [
        (
            Some(r#"{"rows":[{"id":1},{"id":"hunter2"}],"count":1}"#),
            "`result.rows[1].id`: found a string, allowed is an integer",
        ),
        (Some(r#"{"rows":[{}],"count":1}"#), "`result.rows[0].id` is required: an integer"),
        (Some(r#"{"rows":[]}"#), "`result.count` is required: an integer"),
        (
            Some(r#"{"count":1,"by_name":{"hunter2":"x"}}"#),
            "`result.by_name.*`: found a string, allowed is a number",
        ),
        (Some("[]"), "`result`: found a list, allowed is an object"),
        (None, "there is no `structuredContent`"),
    ] {
        let (outcome, meter) = call(ResultsMode::Enforce, structured).await;
        let text = told(outcome).unwrap_err();
        assert!(text.contains(where_and_what) && text.contains("mistake of the server"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(page(&meter).contains("trunkline_validate_results_refused_total{tool=\"search\"} 1\n"));
    }
}

#[tokio::test]
async fn a_result_is_reported_or_passed_over_as_the_mode_says() {
    let wrong = Some(r#"{"count":"many"}"#);
    let (outcome, meter) = call(ResultsMode::Report, wrong).await;
    assert_eq!(told(outcome).as_deref(), Ok("done"));
    assert!(page(&meter).contains("trunkline_validate_results_reported_total{tool=\"search\"} 1\n"));
    let (outcome, meter) = call(ResultsMode::Enforce, Some(r#"{"count":1,"more":[null]}"#)).await;
    assert_eq!(told(outcome).as_deref(), Ok("done"));
    assert!(page(&meter).contains("trunkline_validate_results_checked_total{tool=\"search\"} 1\n"));
    let tool = definition("search", json!({ "type": "object" }), Some(schema()));
    assert!(ResultsChecked::new(Answers(None), &tool, ResultsMode::Off).unwrap().is_err());
}

#[tokio::test]
async fn an_error_of_the_tool_is_passed_on() {
    struct Fails;
    impl Service for Fails {
        fn call(&self, _: Request) -> Answer<'_> {
            ready(Ok(Reply::tool_error("no such customer")))
        }
    }
    let tool = definition("search", json!({ "type": "object" }), Some(schema()));
    let Ok(checked) = ResultsChecked::new(Fails, &tool, ResultsMode::Enforce).unwrap() else {
        panic!("not checked")
    };
    let outcome = checked.call(request(Method::ToolsCall, r#"{"name":"search"}"#)).await;
    assert_eq!(told(outcome), Err("no such customer".to_owned()));
}

fn page(meter: &ResultsMeter) -> String {
    let mut page = Page::new();
    meter.read(&mut page);
    page.into_text()
}
