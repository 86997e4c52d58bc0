//! What `src/main.rs` says one will see, seen through its binary.

use serde_json::{Value, json};
use trunkline_example_tests::{Client, Example, Messages, Stdio, text};

const BINARY: &str = env!("CARGO_BIN_EXE_notes");

async fn both_eras(example: &Example) -> [Client; 2] {
    [Client::modern(example.mcp(), json!({})), Client::legacy(example.mcp(), json!({})).await]
}

async fn listed(client: &Client) -> Vec<String> {
    let list = client.ask("resources/list", json!({})).await;
    let resources = list["result"]["resources"].as_array().cloned().unwrap_or_default();
    resources.iter().filter_map(|resource| resource["uri"].as_str()).map(str::to_owned).collect()
}

async fn read(client: &Client, uri: &str) -> Value {
    client.ask("resources/read", json!({ "uri": uri })).await
}

#[tokio::test]
async fn notes_are_added_listed_read_edited_and_deleted_in_both_eras() {
    for era in 0..2 {
        let example = Example::start(BINARY).await;
        let client = &both_eras(&example).await[era];
        assert_eq!(listed(client).await, ["notes:///all"]);
        let added = client.call("add_note", json!({ "text": "# Milk\nTwo litres" })).await;
        assert_eq!(text(&added), "noted as 1");
        let link = &added["result"]["content"][1];
        assert_eq!(
            (&link["type"], &link["uri"], &link["name"]),
            (&json!("resource_link"), &json!("notes:///note/1"), &json!("Milk"))
        );
        assert_eq!(listed(client).await, ["notes:///all", "notes:///note/1"]);
        let contents = &read(client, "notes:///note/1").await["result"]["contents"][0];
        assert_eq!(
            (&contents["text"], &contents["mimeType"]),
            (&json!("# Milk\nTwo litres"), &json!("text/markdown"))
        );
        client.call("edit_note", json!({ "id": 1, "text": "# Oat milk" })).await;
        assert_eq!(read(client, "notes:///all").await["result"]["contents"][0]["text"], "1: Oat milk\n");
        client.call("delete_note", json!({ "id": 1 })).await;
        assert_eq!(listed(client).await, ["notes:///all"]);
    }
}

#[tokio::test]
async fn a_note_that_is_not_there_is_not_found_by_the_code_of_the_era() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        let answer = read(&client, "notes:///note/77").await;
        assert_eq!(answer["error"]["code"], if client.is_legacy() { -32002 } else { -32602 }, "{answer}");
        assert_eq!(answer["error"]["data"]["uri"], "notes:///note/77", "{answer}");
        let answer = client.call("edit_note", json!({ "id": 77, "text": "x" })).await;
        assert_eq!(answer["result"]["isError"], true);
        assert!(text(&answer).contains("there is no note 77"), "{answer}");
    }
}

#[tokio::test]
async fn the_template_and_the_prompt_are_listed() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        let templates = client.ask("resources/templates/list", json!({})).await;
        assert_eq!(templates["result"]["resourceTemplates"][0]["uriTemplate"], "notes:///note/{id}");
        let prompts = client.ask("prompts/list", json!({})).await;
        let prompt = &prompts["result"]["prompts"][0];
        assert_eq!((&prompt["name"], &prompt["title"]), (&json!("summarize"), &json!("Summarize a note")));
        assert_eq!(prompt["arguments"][0]["required"], true);
        assert_ne!(prompt["arguments"][1]["required"], true);
    }
}

#[tokio::test]
async fn a_prompt_holds_the_note() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        let id = text(&client.call("add_note", json!({ "text": "Milk" })).await).replace("noted as ", "");
        let arguments = json!({ "id": id, "length": "three sentences" });
        let answer = client.ask("prompts/get", json!({ "name": "summarize", "arguments": arguments })).await;
        let messages = &answer["result"]["messages"];
        assert_eq!(messages[0]["content"]["text"], "Summarize this note in three sentences.");
        assert_eq!(messages[1]["content"]["resource"]["text"], "Milk");
        let arguments = json!({ "id": "99" });
        let answer = client.ask("prompts/get", json!({ "name": "summarize", "arguments": arguments })).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

#[tokio::test]
async fn ids_and_lengths_complete_as_they_are_typed() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example).await {
        for _ in 0..12 {
            client.call("add_note", json!({ "text": "x" })).await;
        }
    }
    for client in both_eras(&example).await {
        let complete = async |reference: Value, name: &str, value: &str| {
            let params = json!({ "ref": reference, "argument": { "name": name, "value": value } });
            client.ask("completion/complete", params).await["result"]["completion"]["values"].clone()
        };
        let template = json!({ "type": "ref/resource", "uri": "notes:///note/{id}" });
        let ids = complete(template, "id", "2").await;
        assert_eq!(ids, json!(["2", "20", "21", "22", "23", "24", "12"]));
        let prompt = json!({ "type": "ref/prompt", "name": "summarize" });
        assert_eq!(complete(prompt.clone(), "id", "24").await, json!(["24"]));
        assert_eq!(complete(prompt, "length", "on").await[0], "one sentence");
    }
}

async fn next_method(messages: &mut Messages) -> (String, Value) {
    let message = messages.next().await.unwrap_or_default();
    (message["method"].as_str().unwrap_or_default().to_owned(), message["params"].clone())
}

#[tokio::test]
async fn who_listens_hears_of_the_list_and_of_the_notes_asked_for() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    client.call("add_note", json!({ "text": "one" })).await;
    client.call("add_note", json!({ "text": "two" })).await;
    let wanted = json!({ "resourcesListChanged": true, "resourceSubscriptions": ["notes:///note/1"] });
    let (id, mut stream) = client.open("subscriptions/listen", json!({ "notifications": wanted })).await;
    let (method, params) = next_method(&mut stream).await;
    assert_eq!(method, "notifications/subscriptions/acknowledged");
    assert_eq!(params["notifications"], wanted);
    assert_eq!(params["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    // The second note is nobody's business here; were it told, it would be the next message.
    client.call("edit_note", json!({ "id": 2, "text": "zwei" })).await;
    client.call("edit_note", json!({ "id": 1, "text": "eins" })).await;
    let (method, params) = next_method(&mut stream).await;
    assert_eq!(
        (method.as_str(), &params["uri"]),
        ("notifications/resources/updated", &json!("notes:///note/1"))
    );
    client.call("add_note", json!({ "text": "three" })).await;
    assert_eq!(next_method(&mut stream).await.0, "notifications/resources/list_changed");
    client.call("delete_note", json!({ "id": 3 })).await;
    assert_eq!(next_method(&mut stream).await.0, "notifications/resources/list_changed");
}

#[tokio::test]
async fn a_legacy_session_that_subscribed_hears_on_its_stream() {
    let example = Example::start(BINARY).await;
    let client = Client::legacy(example.mcp(), json!({})).await;
    client.call("add_note", json!({ "text": "one" })).await;
    client.call("add_note", json!({ "text": "two" })).await;
    let mut stream = client.listen_legacy().await;
    let answer = client.ask("resources/subscribe", json!({ "uri": "notes:///note/1" })).await;
    assert!(answer.get("error").is_none(), "{answer}");
    client.call("edit_note", json!({ "id": 2, "text": "zwei" })).await;
    client.call("edit_note", json!({ "id": 1, "text": "eins" })).await;
    let (method, params) = next_method(&mut stream).await;
    assert_eq!(
        (method.as_str(), &params["uri"]),
        ("notifications/resources/updated", &json!("notes:///note/1"))
    );
    // A session hears of every change of the list.
    client.call("add_note", json!({ "text": "three" })).await;
    assert_eq!(next_method(&mut stream).await.0, "notifications/resources/list_changed");
}

#[tokio::test]
async fn the_hundred_and_first_note_is_refused_with_what_to_do() {
    let mut stdio = Stdio::start(BINARY, json!({}));
    for _ in 0..100 {
        let answer =
            stdio.ask("tools/call", json!({ "name": "add_note", "arguments": { "text": "x" } })).await;
        assert!(text(&answer).starts_with("noted as"), "{answer}");
    }
    let answer = stdio.ask("tools/call", json!({ "name": "add_note", "arguments": { "text": "x" } })).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(text(&answer), "there are 100 notes already: delete one first");
    assert!(stdio.end().await.success());
}
