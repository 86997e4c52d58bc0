//! What the headers and `_meta` of 2026-07-28 say beside the body, and how far they must agree with it.

use serde_json::Value;

use crate::fixture::{call, check, modern, options, serve_http, serve_http_with, serve_stdio_of};
use crate::raw_http::post;
use crate::rich;

#[tokio::test]
async fn ht_06_an_encoded_name_is_compared_decoded() {
    let http = serve_http_with(rich::live(), options()).await;
    let read = modern("4", "resources/read", &format!(r#""uri":"{}""#, rich::ACCENTED));
    let answer = post(http.address, &read, &[("Mcp-Name", "=?base64?ZG9jczovLy9Sw6lzdW3DqS50eHQ=?=")]).await;
    check("2026-07-28", "resources/read", &answer.json());
    assert_eq!(
        (answer.status, &answer.json()["result"]["contents"][0]["uri"]),
        (200, &rich::ACCENTED.into())
    );
    for name in ["=?base64?%%%?=", "=?base64?ZG9jczovLy9vdGhlci50eHQ=?=", ""] {
        let answer = post(http.address, &read, &[("Mcp-Name", name)]).await;
        assert_eq!(
            (answer.status, answer.code(), answer.json()["id"].clone()),
            (400, -32020, 4.into()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_told_before_a_missing_name() {
    let http = serve_http().await;
    for method in ["tasks/result", "tasks/list", "elicitation/create"] {
        let answer = post(http.address, &modern("1", method, r#""taskId":"t""#), &[]).await;
        assert_eq!((answer.status, answer.code()), (404, -32601), "{method}");
    }
    let get = modern("1", "tasks/get", r#""taskId":"t""#);
    assert_eq!(post(http.address, &get, &[("Mcp-Name", "other")]).await.code(), -32020);
    assert_eq!(
        post(http.address, &get, &[("Mcp-Name", "t")]).await.code(),
        -32601,
        "no tasks are served here"
    );
}

#[tokio::test]
async fn an_argument_that_a_tool_wants_mirrored_is_compared_with_its_header() {
    let http = serve_http_with(rich::live(), options()).await;
    let with = |region: &str| call("1", "header", &format!(r#"{{"region":{region}}}"#));
    for (body, headers, status) in [
        (with("\"eu\""), &[("mcp-PARAM-region", "eu")][..], 200),
        (with("\"eu\""), &[("Mcp-Param-Region", "=?base64?ZXU=?=")], 200),
        (with("\"eu\""), &[("Mcp-Param-Region", "us")], 400),
        (with("\"eu\""), &[("Mcp-Param-Region", "=?base64?ZXU?=")], 400),
        (with("\"eu\""), &[], 400),
        (with("\"eu\""), &[("Mcp-Param-Region", "eu"), ("mcp-param-region", "eu")], 400),
        (with("null"), &[], 200),
        (call("1", "header", "{}"), &[("Mcp-Param-Other", "x")], 200),
        (call("1", "log", "{}"), &[("Mcp-Param-Region", "x")], 200),
    ] {
        let answer = post(http.address, &body, headers).await;
        let code = if status == 400 { -32020 } else { 0 };
        assert_eq!((answer.status, answer.code()), (status, code), "{body} {headers:?}");
    }
    let names: Vec<String> = (0..65).map(|number| format!("Mcp-Param-X{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(post(http.address, &call("1", "log", "{}"), &many).await.code(), -32020);
    // Not over stdio, which has no headers.
    let (live, seen) = rich::live();
    assert!(serve_stdio_of(live, seen).ask(&with("\"eu\""))["result"].is_object());
}

fn at_level(level: &str) -> String {
    call("1", "log", "{}")
        .replace("\"_meta\":{", &format!("\"_meta\":{{\"io.modelcontextprotocol/logLevel\":{level},"))
}

fn levels(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["params"]["level"].as_str()).collect()
}

#[tokio::test]
async fn log_messages_come_from_the_level_on_that_the_request_sets() {
    let http = serve_http_with(rich::live(), options()).await;
    let (live, seen) = rich::live();
    let mut piped = serve_stdio_of(live, seen);
    for (level, expected) in
        [("\"debug\"", &["debug", "info", "error"][..]), ("\"warning\"", &["error"]), ("\"emergency\"", &[])]
    {
        let answer = post(http.address, &at_level(level), &[]).await;
        let messages = answer.messages();
        messages.iter().for_each(|message| check("2026-07-28", "tools/call", message));
        assert_eq!(
            (levels(&messages), answer.is_stream()),
            (expected.to_vec(), !expected.is_empty()),
            "{level}"
        );
        assert_eq!(rich::text(messages.last().unwrap()), "logged");
        piped.send(&at_level(level));
        let lines: Vec<Value> =
            (0..=expected.len()).map(|_| serde_json::from_str(&piped.line()).unwrap()).collect();
        assert_eq!(levels(&lines), expected);
        assert_eq!(rich::text(lines.last().unwrap()), "logged");
    }
    // None without a level, and none in a form that the client does not take.
    assert!(!post(http.address, &call("1", "log", "{}"), &[]).await.is_stream());
    let json = post(http.address, &at_level("\"debug\""), &[("Accept", "application/json")]).await;
    assert_eq!((json.is_stream(), json.messages().len()), (false, 1));
    for level in ["\"loud\"", "7", "\"Debug\""] {
        let answer = post(http.address, &at_level(level), &[]).await;
        assert_eq!((answer.status, answer.code()), (400, -32602), "{level}");
        assert_eq!(piped.ask(&at_level(level))["error"]["code"], -32602);
    }
}

#[tokio::test]
async fn what_a_client_was_asked_for_comes_back_with_the_request() {
    let http = serve_http_with(rich::live(), options()).await;
    let (live, seen) = rich::live();
    let mut piped = serve_stdio_of(live, seen);
    let ask = |input: &str| modern("1", "tools/call", &format!(r#""name":"ask"{input}"#));
    for (input, expected) in [
        ("", None),
        (
            r#","inputResponses":{"name":{"action":"accept"}},"requestState":"sealed""#,
            Some(r#"{"name":{"action":"accept"}} sealed"#),
        ),
        (r#","inputResponses":[1]"#, Some("[1] -")),
        (r#","requestState":"s\u0041""#, Some(" sA")),
        (r#","inputResponses":{},"requestState":null"#, Some("{} -")),
    ] {
        let answers = [post(http.address, &ask(input), &[]).await.json(), piped.ask(&ask(input))];
        for answer in answers {
            check("2026-07-28", "tools/call", &answer);
            match expected {
                None => assert_eq!(answer["result"]["resultType"], "input_required"),
                Some(text) => assert_eq!(rich::text(&answer), text),
            }
        }
    }
    for state in ["7", "{}", "true"] {
        let body = ask(&format!(r#","requestState":{state}"#));
        let answer = post(http.address, &body, &[]).await;
        assert_eq!((answer.status, answer.code()), (400, -32602), "{state}");
        assert_eq!(piped.ask(&body)["error"]["code"], -32602);
    }
    // With a progress token beside it.
    let both = ask(r#","requestState":"x""#).replace("\"_meta\":{", "\"_meta\":{\"progressToken\":1,");
    assert_eq!(rich::text(&post(http.address, &both, &[]).await.json()), " x");
}
