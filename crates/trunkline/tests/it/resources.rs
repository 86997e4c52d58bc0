//! `#[resource]`: fixed ones, templates and their variables.

use serde_json::{Value, json};
use trunkline::{Json, ResourceError, Server, Tester, resource};

/// What is to be done.
#[resource("notes://today", mime = "text/plain", title = "Today", subscribe)]
fn today() -> &'static str {
    "nothing"
}

/// One note.
#[resource("notes://{user}/{id}{?page}", name = "one note", mime = "text/markdown")]
async fn note(
    id: u64,
    #[arg(complete = ["ann", "bob"])] user: String,
    page: Option<u32>,
) -> Result<String, ResourceError> {
    if id == 0 { Err(ResourceError::NotFound) } else { Ok(format!("{user} {id} {page:?}")) }
}

#[resource("notes://count", ttl = "5m", public, size = 1, priority = 0.5, audience = "user")]
fn counted() -> Json<u8> {
    Json(3)
}

fn tester() -> Tester {
    Server::new("notes", "1.0.0").resource(today).resource(note).resource(counted).tester().unwrap()
}

async fn read(uri: &str) -> Value {
    tester().read(uri).await.unwrap()["contents"][0].clone()
}

#[tokio::test]
async fn fixed_ones_and_templates_are_listed_apart() {
    let list = tester().request("resources/list", json!({})).await.unwrap();
    let today = &list["resources"][0];
    assert_eq!(
        (&today["uri"], &today["name"], &today["title"]),
        (&json!("notes://today"), &json!("today"), &json!("Today"))
    );
    assert_eq!(
        (&today["mimeType"], &today["description"]),
        (&json!("text/plain"), &json!("What is to be done."))
    );
    let list = tester().request("resources/templates/list", json!({})).await.unwrap();
    let note = &list["resourceTemplates"][0];
    assert_eq!(
        (&note["uriTemplate"], &note["name"]),
        (&json!("notes://{user}/{id}{?page}"), &json!("one note"))
    );
}

#[tokio::test]
async fn hints_are_listed_and_sent_with_what_is_read() {
    let list = tester().request("resources/list", json!({})).await.unwrap();
    let counted = &list["resources"][1];
    assert_eq!(
        (&counted["size"], &counted["annotations"]),
        (&json!(1), &json!({ "audience": ["user"], "priority": 0.5 }))
    );
    let read = tester().read("notes://count").await.unwrap();
    assert_eq!((&read["ttlMs"], &read["cacheScope"]), (&json!(300_000), &json!("public")));
    let read = tester().read("notes://today").await.unwrap();
    assert_eq!((&read["ttlMs"], &read["cacheScope"]), (&json!(0), &json!("private")));
}

#[tokio::test]
async fn variables_become_what_the_function_takes() {
    assert_eq!(read("notes://today").await["text"], "nothing");
    assert_eq!(read("notes://ann/7").await["text"], "ann 7 None");
    assert_eq!(read("notes://a%20b/7?page=2").await["text"], "a b 7 Some(2)");
    assert_eq!(read("notes://ann/7").await["mimeType"], "text/markdown");
    assert_eq!(read("notes://count").await["text"], "3");
}

#[tokio::test]
async fn what_is_not_there_fails_the_request() {
    for uri in ["notes://ann/0", "notes://ann/seven", "notes://other/one/two"] {
        assert!(tester().read(uri).await.is_err(), "{uri}");
    }
}

#[tokio::test]
async fn variables_are_completed() {
    let params = json!({
        "ref": {"type": "ref/resource", "uri": "notes://{user}/{id}{?page}"},
        "argument": {"name": "user", "value": "b"},
    });
    let completion = tester().request("completion/complete", params).await.unwrap();
    assert_eq!(completion["completion"]["values"], json!(["bob"]));
}
