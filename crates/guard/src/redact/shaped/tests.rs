//! Whole replies through the layer: fields and kinds in every part of them, and what is told beside.

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_protocol::{LogLevel, Revision, scan};
use trunkline_service::{Attached, Caller, Event, Log, Outlet, Progress, ready};

use super::*;
use crate::redact::age::{Identity, open};
use crate::redact::file::{EncryptFile, RecipientsFile, RedactFile};

fn shape(redact: &[&str], encrypt: &[&str], key: Option<&Identity>) -> Shape {
    let redact = RedactFile(redact.iter().map(|text| (*text).to_owned()).collect());
    let encrypt = EncryptFile {
        fields: encrypt.iter().map(|text| (*text).to_owned()).collect(),
        to: RecipientsFile(key.map(|key| key.recipient().to_string()).into_iter().collect()),
    };
    Shape::resolve(&["tools", "t"], None, Some(&redact), Some(&encrypt)).unwrap()
}

fn shaper(redact: &[&str]) -> Shaper {
    Shaper::of_tool(&shape(redact, &[], None), "t", None)
}

fn reply(members: &Value) -> Reply {
    let text = members.to_string();
    Reply::from_members(text.strip_prefix('{').unwrap().strip_suffix('}').unwrap().as_bytes().to_vec())
}

fn shaped(shaper: &Shaper, members: &Value, method: Method) -> Value {
    let reply = shaper.shape(Ok(reply(members)), method, 1).unwrap();
    let meta = String::from_utf8(reply.meta().to_vec()).unwrap();
    let mut value: Value =
        serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap();
    if !meta.is_empty() {
        value["_meta"] = serde_json::from_str(&format!("{{{meta}}}")).unwrap();
    }
    value
}

fn person() -> Value {
    json!({ "rows": [
        { "id": 1, "name": "Ann", "ssn": "123-45-6789", "pay": 5000.25, "boss": null, "home": { "street": "Elm \"5\"", "zip": [12345, true] }, "mail": "ann@example.com" },
        { "id": 2, "name": "Bo", "ssn": "987-65-4321", "pay": 10, "boss": null, "home": null, "mail": "none" },
    ], "rowCount": 2 })
}

#[test]
fn fields_are_hidden_in_the_content_and_in_its_json_twin() {
    let shaper = shaper(&["rows.*.ssn", "pay", "rows.*.home", "boss"]);
    let whole = json!({ "content": [{ "type": "text", "text": person().to_string() }], "structuredContent": person(), "isError": false });
    let out = shaped(&shaper, &whole, Method::ToolsCall);
    let expected = json!({ "rows": [
        { "id": 1, "name": "Ann", "ssn": "[redacted]", "pay": "[redacted]", "boss": null, "home": { "street": "[redacted]", "zip": ["[redacted]", "[redacted]"] }, "mail": "ann@example.com" },
        { "id": 2, "name": "Bo", "ssn": "[redacted]", "pay": "[redacted]", "boss": null, "home": null, "mail": "none" },
    ], "rowCount": 2 });
    assert_eq!(out["structuredContent"], expected);
    assert_eq!(serde_json::from_str::<Value>(out["content"][0]["text"].as_str().unwrap()).unwrap(), expected);
    let mut page = Page::new();
    shaper.read(&mut page);
    let page = page.into_text();
    assert!(page.contains("trunkline_redact_hidden_total{tool=\"t\",kind=\"field\"} 7\n"), "{page}");
}

#[test]
fn a_twin_that_is_written_in_another_way_is_hidden_as_well() {
    let shaper = shaper(&["rows.*.ssn", "street", "rows.*.pay"]);
    let pretty = serde_json::to_string_pretty(&person()).unwrap();
    let csv = "id,name,ssn,pay,home\n1,Ann,123-45-6789,5000.25,\"{\"\"street\"\":\"\"Elm \\\"\"5\\\"\"\"\",\"\"zip\"\":[1]}\"\n2,Bo,987-65-4321,10,\n\nmore rows were left out; shown are 2\n";
    let markdown =
        "| id | ssn | pay |\n| --- | --- | --- |\n| 1 | 123-45-6789 | 5000.25 |\n| 2 | 987-65-4321 | 10 |\n";
    let lines = "{\"id\":1,\"ssn\":\"123-45-6789\",\"pay\":7}\n{\"id\":2,\"ssn\":\"987-65-4321\"}\n";
    let prose = "Ann (123-45-6789) of Elm \"5\" earns 5000.25.";
    let broken = "{\"rows\":[{\"id\":1,\"ssn\":\"123-45-6789\"},{\"id\":2,\"ssn\":\"987-65";
    for text in [&pretty, csv, markdown, lines, prose, broken] {
        let whole = json!({ "content": [{ "type": "text", "text": text }], "structuredContent": person() });
        let out = shaped(&shaper, &whole, Method::ToolsCall).to_string();
        for secret in ["123-45", "987-65", "Elm", "5000.25", ",10,", "| 10 "] {
            assert!(!out.contains(secret), "{secret}: {out}");
        }
        assert!(out.contains("[redacted"), "{out}");
    }
    // Without structured content the form of the text is all there is.
    for text in [&pretty, csv, markdown, lines, broken] {
        let out =
            shaped(&shaper, &json!({ "content": [{ "type": "text", "text": text }] }), Method::ToolsCall)
                .to_string();
        assert!(!out.contains("123-45") && !out.contains("987-65"), "{out}");
    }
    let whole = json!({ "content": [{ "type": "text", "text": csv }] });
    assert_eq!(
        shaped(&shaper, &whole, Method::ToolsCall)["content"][0]["text"],
        "id,name,ssn,pay,home\n1,Ann,[redacted],[redacted],\"{\"\"street\"\":\"\"[redacted]\"\",\"\"zip\"\":[1]}\"\n2,Bo,[redacted],[redacted],\n\nmore rows were left out; shown are 2\n"
    );
}

#[test]
fn detectors_find_in_every_part_of_a_result() {
    let shaper = shaper(&["email", "card", "phone"]);
    let jsons = json!({ "deep": "[{\"to\":\"ann@example.com\"}]" }).to_string();
    let whole = json!({
        "content": [
            { "type": "text", "text": "write to ann@example.com", "annotations": { "audience": ["user"] } },
            { "type": "text", "text": jsons },
            { "type": "image", "data": "YW5uQGV4YW1wbGUuY29t", "mimeType": "image/png" },
            { "type": "resource_link", "uri": "mail:ann@example.com", "name": "ann@example.com", "description": "of ann@example.com" },
            { "type": "resource", "resource": { "uri": "a:1", "mimeType": "text/plain", "text": "ann@example.com" } },
            { "type": "resource", "resource": { "uri": "a:2", "mimeType": "text/csv; charset=utf-8", "blob": "bWFpbCxuCmFubkBleGFtcGxlLmNvbSwxCg==" } },
            { "type": "resource", "resource": { "uri": "a:3", "mimeType": "image/png", "blob": "YW5uQGV4YW1wbGUuY29t" } },
        ],
        "structuredContent": { "card": 4111111111111111_u64, "id": 4111111111111112_u64, "phone": 5552345678_u64, "ann@example.com": { "bob@example.com": 1, "cy@example.com": 2 }, "nextCursor": "ann@example.com" },
        "extra": "ann@example.com",
    });
    let out = shaped(&shaper, &whole, Method::ToolsCall);
    let block = |at: usize| &out["content"][at];
    assert_eq!(block(0)["text"], "write to [email]");
    assert_eq!(block(1)["text"], json!({ "deep": "[{\"to\":\"[email]\"}]" }).to_string());
    assert_eq!(*block(2), whole["content"][2]);
    assert_eq!(
        *block(3),
        json!({ "type": "resource_link", "uri": "mail:ann@example.com", "name": "[email]", "description": "of [email]" })
    );
    assert_eq!(block(4)["resource"]["text"], "[email]");
    assert_eq!(block(5)["resource"]["blob"], "bWFpbCxuCltlbWFpbF0sMQo=");
    assert_eq!(*block(6), whole["content"][6]);
    assert_eq!(
        out["structuredContent"],
        json!({ "card": "[card]", "id": 4111111111111112_u64, "phone": "[phone]", "[email]": { "[email]": 1, "[email] 2": 2 }, "nextCursor": "[email]" })
    );
    assert_eq!(out["extra"], "[email]");
}

#[test]
fn resources_prompts_errors_and_meta_are_looked_through() {
    let shaper = shaper(&["email", "rows.*.ssn"]);
    let resource = json!({ "contents": [{ "uri": "ann@example.com", "mimeType": "application/x-ndjson", "text": "{\"ssn\":1234567}\n{\"ssn\":7654321}\n", "_meta": { "x": "ann@example.com", "io.trunkline/next": "ann@example.com" } }] });
    assert_eq!(
        shaped(&shaper, &resource, Method::ResourcesRead)["contents"][0],
        json!({ "uri": "ann@example.com", "mimeType": "application/x-ndjson", "text": "{\"ssn\":\"[redacted]\"}\n{\"ssn\":\"[redacted]\"}\n", "_meta": { "x": "[email]", "io.trunkline/next": "ann@example.com" } })
    );
    let prompt = json!({ "description": "for ann@example.com", "messages": [{ "role": "user", "content": { "type": "text", "text": "ask ann@example.com" } }] });
    assert_eq!(
        shaped(&shaper, &prompt, Method::PromptsGet),
        json!({ "description": "for [email]", "messages": [{ "role": "user", "content": { "type": "text", "text": "ask [email]" } }] })
    );
    let failure = Failure::new(FailureKind::InvalidParams, "no ann@example.com")
        .with_data(br#"{"uri":"ann@example.com","why":"ann@example.com"}"#.to_vec());
    let failure = shaper.shape(Err(failure), Method::ResourcesRead, 1).unwrap_err();
    assert_eq!(
        (failure.public(), failure.data().unwrap()),
        ("no [email]", &br#"{"uri":"ann@example.com","why":"[email]"}"#[..])
    );
    let with_meta = Reply::tool_error("no ann@example.com").with_meta(br#""by":"ann@example.com""#.to_vec());
    let reply = shaper.shape(Ok(with_meta), Method::ToolsCall, 1).unwrap();
    assert!(reply.is_error() && reply.meta() == br#""by":"[email]""#);
    assert!(std::str::from_utf8(reply.members()).unwrap().contains("no [email]"));
}

#[test]
fn sealed_fields_open_with_the_key_and_are_strings_for_everyone_else() {
    let key = Identity::random().unwrap();
    let shaper =
        Shaper::of_tool(&shape(&["rows.*.mail"], &["ssn", "home", "boss", "pay"], Some(&key)), "t", None);
    let csv = "id,ssn,home\n1,123-45-6789,\n";
    let whole = json!({ "content": [{ "type": "text", "text": person().to_string() }, { "type": "text", "text": csv }], "structuredContent": person() });
    let out = shaped(&shaper, &whole, Method::ToolsCall);
    let row = &out["structuredContent"]["rows"][0];
    let opened = |value: &Value| {
        String::from_utf8(open(value.as_str().unwrap().as_bytes(), std::slice::from_ref(&key)).unwrap())
            .unwrap()
    };
    assert_eq!((opened(&row["ssn"]).as_str(), opened(&row["pay"]).as_str()), ("123-45-6789", "5000.25"));
    assert_eq!(opened(&row["home"]), person()["rows"][0]["home"].to_string());
    assert_eq!((&row["boss"], &row["mail"]), (&Value::Null, &json!("[redacted]")));
    // The twin says the same, to the byte.
    assert_eq!(
        serde_json::from_str::<Value>(out["content"][0]["text"].as_str().unwrap()).unwrap(),
        out["structuredContent"]
    );
    let cell = out["content"][1]["text"]
        .as_str()
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .split(',')
        .nth(1)
        .unwrap()
        .to_owned();
    assert_eq!(opened(&json!(cell)), "123-45-6789");
    assert!(!out.to_string().contains("123-45"));
}

#[test]
fn nothing_to_hide_is_not_copied_and_what_cannot_be_read_is_held_back() {
    let shaper = shaper(&["email", "ssn"]);
    let members = json!({ "content": [{ "type": "text", "text": "{\"a\":1}" }], "structuredContent": { "a": 1 }, "isError": false });
    let before = reply(&members);
    let at = before.members().as_ptr();
    let after = shaper.shape(Ok(before), Method::ToolsCall, 1).unwrap();
    assert_eq!(after.members().as_ptr(), at);
    let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
    for bad in [format!("\"structuredContent\":{deep}"), "\"content\":[}".to_owned()] {
        let held = shaper.shape(Ok(Reply::from_members(bad.into_bytes())), Method::ToolsCall, 0xabc).unwrap();
        let text = String::from_utf8(held.members().to_vec()).unwrap();
        assert!(held.is_error() && text.contains("held back (request 0000000000000abc)"), "{text}");
    }
    let text = shaped(&shaper, &json!({ "content": [{ "type": "text", "text": deep }] }), Method::ToolsCall);
    assert_eq!(text["content"][0]["text"], "[redacted: the JSON is nested deeper than 64 levels]");
}

struct Tells;

impl Service for Tells {
    fn call(&self, request: Request) -> Answer<'_> {
        request.progress().unwrap().report(1.0, None, Some("writing to ann@example.com"));
        request.log().unwrap().message(LogLevel::Error, Some("db"), br#"{"to":"ann@example.com"}"#);
        ready(Ok(Reply::text("sent to ann@example.com")))
    }
}

#[tokio::test]
async fn progress_and_log_messages_are_looked_through() {
    let (sender, mut events) = mpsc::channel(8);
    let outlet = Outlet::new(sender, CancellationToken::new());
    let attached = Attached {
        progress: Some(Progress::new(Bytes::from_static(b"\"ann@example.com\""), outlet.clone())),
        log: Some(Log::new(LogLevel::Debug, outlet.clone())),
        ..Attached::new(outlet)
    };
    let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    let (_, envelope) = scan(&body).unwrap();
    let request = Request::new(body, &envelope, Method::ToolsCall, Revision::LATEST, Caller::local(), 1)
        .with_attached(Some(Box::new(attached)));
    let reply = Shaped::new(Tells, Arc::new(shaper(&["email"]))).call(request).await.unwrap();
    assert!(String::from_utf8_lossy(reply.members()).contains("sent to [email]"));
    let mut told = Vec::new();
    while let Ok(Event::Message(message)) = events.try_recv() {
        told.push(serde_json::from_slice::<Value>(&message).unwrap()["params"].clone());
    }
    assert_eq!(
        told,
        [
            json!({ "progressToken": "ann@example.com", "progress": 1, "message": "writing to [email]" }),
            json!({ "level": "error", "logger": "db", "data": { "to": "[email]" } }),
        ]
    );
}

#[test]
fn only_the_sealed_cursor_of_the_reply_itself_stays() {
    let shaper = shaper(&["email", "ssn"]);
    let inner = json!({ "nextCursor": { "ssn": 1234567 } }).to_string();
    let text = json!({ "nextCursor": "ann@example.com" }).to_string();
    let content = json!({ "a": inner, "b": text, "c": { "nextCursor": "ann@example.com" }, "nextCursor": "YW5u@sealed.example" });
    let whole = json!({ "content": [{ "type": "text", "text": content.to_string() }, { "type": "text", "text": text }], "structuredContent": content });
    let bound = shaper.shape(Ok(reply(&whole).with_bound()), Method::ToolsCall, 1).unwrap();
    let bound = String::from_utf8(bound.members().to_vec()).unwrap();
    assert_eq!(bound.matches("ann@example.com").count() + bound.matches("1234567").count(), 0, "{bound}");
    // In the content and in its twin.
    assert_eq!(bound.matches("YW5u@sealed.example").count(), 2, "{bound}");
    let free = shaped(&shaper, &whole, Method::ToolsCall).to_string();
    assert!(!free.contains("YW5u"), "{free}");
    let named = Shaper::of_tool(&shape(&["nextCursor"], &[], None), "t", None);
    let hidden = named.shape(Ok(reply(&whole).with_bound()), Method::ToolsCall, 1).unwrap();
    assert!(!String::from_utf8(hidden.members().to_vec()).unwrap().contains("YW5u"));
}
