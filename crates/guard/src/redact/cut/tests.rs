//! Results that are too large: what is left out of each form, and what is said of it.

use serde_json::{Value, json};

use super::*;

fn reply(members: &Value) -> Reply {
    let text = members.to_string();
    let inner = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    let start = inner.find(",\"structuredContent\":");
    let reply = Reply::from_members(inner.as_bytes().to_vec());
    match start {
        Some(start) => {
            let value = members["structuredContent"].to_string();
            reply.with_structured(start..start + ",\"structuredContent\":".len() + value.len())
        }
        None => reply,
    }
}

fn value(reply: &Reply) -> Value {
    serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(reply.members()).unwrap())).unwrap()
}

fn cut(max: usize, promise: Promise, members: &Value, method: Method) -> (Value, Reply) {
    let cut = Bound { max, promise }.cut(&reply(members), method).unwrap().expect("it is too large");
    assert!(cut.members().len() <= max, "{} of {max}", cut.members().len());
    (value(&cut), cut)
}

fn rows(count: usize) -> Value {
    let rows: Vec<Value> =
        (0..count).map(|at| json!({ "id": at, "name": format!("\"N\" {at}\nü"), "none": null })).collect();
    json!({ "rows": rows, "rowCount": count })
}

fn csv(count: usize) -> String {
    let lines: String = (0..count).map(|at| format!("{at},\"\"\"N\"\" {at}\nü\",\n")).collect();
    format!("id,name,none\n{lines}")
}

fn markdown(count: usize) -> String {
    let lines: String = (0..count).map(|at| format!("| {at} | \"N\" {at}<br>ü | null |\n")).collect();
    format!("| id | name | none |\n| --- | --- | --- |\n{lines}")
}

#[test]
fn whole_rows_are_left_out_of_the_content_and_of_every_kind_of_twin() {
    let pretty = |count| serde_json::to_string_pretty(&rows(count)).unwrap();
    type Twin = (&'static str, fn(usize) -> String);
    let twins: [Twin; 4] =
        [("json", |count| rows(count).to_string()), ("pretty", pretty), ("csv", csv), ("markdown", markdown)];
    for (name, twin) in twins {
        let whole = json!({ "content": [{ "type": "text", "text": twin(1000) }], "structuredContent": rows(1000), "isError": false });
        let (cut, reply) = cut(20_000, Promise::Rows, &whole, Method::ToolsCall);
        let kept = cut["structuredContent"]["rows"].as_array().unwrap().len();
        assert!((80..900).contains(&kept) && reply.members().len() > 18_000, "{name} {kept}");
        assert_eq!(cut["structuredContent"]["rowCount"], kept, "{name}");
        assert_eq!(cut["structuredContent"]["truncated"], true, "{name}");
        assert_eq!(cut["structuredContent"]["rows"][kept - 1]["id"], kept - 1, "{name}");
        assert_eq!(
            (cut["isError"].clone(), reply.rows()),
            (json!(false), Some(u32::try_from(kept).unwrap()))
        );
        let text = cut["content"][0]["text"].as_str().unwrap();
        match name {
            "json" | "pretty" => {
                assert_eq!(serde_json::from_str::<Value>(text).unwrap(), cut["structuredContent"])
            }
            "csv" => assert_eq!(text, format!("{}\nmore rows were left out; shown are {kept}\n", csv(kept))),
            _ => assert_eq!(text, format!("{}\nmore rows were left out; shown are {kept}\n", markdown(kept))),
        }
        let note = cut["content"][1]["text"].as_str().unwrap();
        assert!(note.contains(&format!("{kept} of its 1000 rows")) && note.contains("20000"), "{note}");
        let structured = reply.structured().unwrap().clone();
        let member = std::str::from_utf8(&reply.members()[structured]).unwrap().to_owned();
        assert_eq!(member, format!(",\"structuredContent\":{}", cut["structuredContent"]));
    }
}

#[test]
fn a_cursor_that_would_pass_over_rows_goes_with_its_link() {
    let mut content = rows(500);
    content["truncated"] = json!(true);
    content["nextCursor"] = json!("sealed");
    let link = json!({ "type": "resource_link", "uri": "postgres://shop/results/csv/x", "name": "rest" });
    let whole = json!({ "content": [{ "type": "text", "text": content.to_string() }, link], "structuredContent": content, "isError": false });
    let (cut, _) = cut(8000, Promise::Rows, &whole, Method::ToolsCall);
    assert!(
        cut["structuredContent"].get("nextCursor").is_none() && cut["structuredContent"]["truncated"] == true
    );
    assert_eq!(cut["content"].as_array().unwrap().len(), 2);
    assert!(cut["content"][1]["text"].as_str().unwrap().contains("more behind those"), "{cut}");
}

#[test]
fn what_cannot_be_cut_without_breaking_its_form_is_an_error_that_says_so() {
    let one = json!({ "content": [{ "type": "text", "text": "x" }], "structuredContent": { "row": { "a": "x".repeat(5000) } }, "isError": false });
    let row = json!({ "content": [], "structuredContent": { "rows": [{ "a": "x".repeat(5000) }], "rowCount": 1 }, "isError": false });
    for (promise, whole) in
        [(Promise::Whole, &one), (Promise::Rows, &one), (Promise::Rows, &row), (Promise::Whole, &row)]
    {
        let (cut, reply) = cut(3000, promise, whole, Method::ToolsCall);
        assert!(reply.is_error() && cut["isError"] == true);
        let text = cut["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("more than the 3000") && text.contains("narrower arguments"), "{text}");
    }
}

#[test]
fn texts_are_cut_at_a_character_and_pictures_give_way_to_a_word() {
    let whole = json!({ "content": [
        { "type": "text", "text": "short" },
        { "type": "image", "data": "A".repeat(40_000), "mimeType": "image/png" },
        { "type": "text", "text": "ü\"".repeat(20_000), "annotations": { "priority": 1.0 } },
        { "type": "resource_link", "uri": "https://example.com/all", "name": "all" },
        { "type": "text", "text": "z".repeat(4000) },
    ], "structuredContent": { "big": "x".repeat(4000) }, "isError": false });
    let (cut, reply) = cut(10_000, Promise::Nothing, &whole, Method::ToolsCall);
    assert!(cut.get("structuredContent").is_none() && reply.structured().is_none() && !reply.is_error());
    let blocks = cut["content"].as_array().unwrap();
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    assert_eq!(texts[..2], ["short", "[left out: image/png of 30000 bytes]"]);
    assert!(texts[2].starts_with("ü\"ü\"") && texts[2].ends_with("of 60000 bytes]"), "{}", texts[2]);
    assert!(texts.last().unwrap().contains("3 parts are cut or left out"), "{texts:?}");
    assert!(blocks.iter().any(|block| block["uri"] == "https://example.com/all"));
}

#[test]
fn contents_and_messages_stay_with_as_much_as_there_is_room_for() {
    let whole = json!({ "contents": [
        { "uri": "a:1", "mimeType": "text/plain", "text": "t".repeat(9000) },
        { "uri": "a:2", "mimeType": "image/png", "blob": "A".repeat(8000) },
    ] });
    let (first, _) = cut(4000, Promise::Nothing, &whole, Method::ResourcesRead);
    assert!(first["contents"][0]["text"].as_str().unwrap().ends_with("of 9000 bytes]"));
    assert_eq!(
        first["contents"][1],
        json!({ "uri": "a:2", "mimeType": "text/plain", "text": "[left out: 6000 bytes]" })
    );
    let whole = json!({ "messages": [
        { "role": "user", "content": { "type": "text", "text": "hello" } },
        { "role": "user", "content": { "type": "text", "text": "m".repeat(9000) } },
    ] });
    let (cut, _) = cut(4000, Promise::Nothing, &whole, Method::PromptsGet);
    assert_eq!(cut["messages"][0]["content"]["text"], "hello");
    assert!(cut["messages"][1]["content"]["text"].as_str().unwrap().ends_with("of 9000 bytes]"));
}

#[test]
fn what_a_tool_promised_decides_what_may_be_missing() {
    let rows = |more: Value| Promise::of(Some(&json!({ "properties": more, "additionalProperties": false })));
    assert_eq!(Promise::of(None), Promise::Nothing);
    assert_eq!(rows(json!({ "rows": { "type": "array" }, "truncated": {} })), Promise::Rows);
    assert_eq!(rows(json!({ "rows": { "type": "array", "minItems": 1 }, "truncated": {} })), Promise::Whole);
    assert_eq!(rows(json!({ "rows": { "type": "array" } })), Promise::Whole);
    assert_eq!(rows(json!({ "row": {} })), Promise::Whole);
}
