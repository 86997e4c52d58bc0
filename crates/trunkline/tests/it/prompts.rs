//! `#[prompt]`: arguments as text, and completions.

use serde_json::{Value, json};
use trunkline::{CompletionContext, PromptError, PromptMessages, Server, State, Tester, prompt};

fn cities(typed: CompletionContext) -> Vec<String> {
    let land = typed.argument("land").unwrap_or("none");
    vec![format!("{}-{land}", typed.value())]
}

async fn days(typed: CompletionContext) -> Result<[&'static str; 1], PromptError> {
    if typed.value() == "x" { Err(PromptError::new("no day")) } else { Ok(["today"]) }
}

/// Plans a trip.
#[prompt(title = "Trip")]
async fn trip(
    State(agency): State<String>,
    /// Where to.
    #[arg(complete = cities)]
    city: String,
    #[arg(complete = ["germany", "greece", "france"])] land: Option<String>,
    #[arg(default = 2)] people: u8,
    #[arg(complete = days, rename = "startDay")] start: Option<String>,
) -> Result<PromptMessages, PromptError> {
    if city == "atlantis" {
        return Err(PromptError::new("atlantis is gone"));
    }
    Ok(PromptMessages::new().user(format!("{agency}: {people} to {city} in {land:?} on {start:?}")))
}

fn tester() -> Tester {
    Server::new("trips", "1.0.0").state("agency".to_owned()).prompt(trip).tester().unwrap()
}

async fn completed(argument: &str, value: &str) -> Value {
    let params = json!({
        "ref": {"type": "ref/prompt", "name": "trip"},
        "argument": {"name": argument, "value": value},
        "context": {"arguments": {"land": "greece"}},
    });
    tester().request("completion/complete", params).await.unwrap()["completion"]["values"].clone()
}

#[tokio::test]
async fn a_function_is_listed_with_its_arguments() {
    let list = tester().request("prompts/list", json!({})).await.unwrap();
    let prompt = &list["prompts"][0];
    assert_eq!(prompt["title"], "Trip");
    assert_eq!(prompt["description"], "Plans a trip.");
    let arguments = prompt["arguments"].as_array().unwrap();
    assert_eq!(arguments[0]["description"], "Where to.");
    let required: Vec<_> = arguments.iter().map(|argument| argument["required"] == true).collect();
    assert_eq!(required, [true, false, false, false]);
    assert_eq!(arguments[3]["name"], "startDay");
}

#[tokio::test]
async fn text_becomes_what_the_function_takes() {
    let messages = tester().prompt("trip", json!({"city": "athens"})).await.unwrap();
    assert!(messages.to_string().contains("agency: 2 to athens in None on None"), "{messages}");
    let all = json!({"city": "athens", "land": "greece", "people": "5", "startDay": "today"});
    let messages = tester().prompt("trip", all).await.unwrap().to_string();
    assert!(messages.contains("5 to athens in Some"), "{messages}");
}

#[tokio::test]
async fn what_does_not_fit_fails_the_request() {
    for (arguments, part) in [
        (json!({}), "city"),
        (json!({"city": "a", "people": "many"}), "people"),
        (json!({"city": "atlantis"}), "atlantis is gone"),
    ] {
        let failure = tester().prompt("trip", arguments).await.unwrap_err().to_string();
        assert!(failure.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn completions_come_from_lists_functions_and_futures() {
    assert_eq!(completed("land", "G").await, json!(["germany", "greece"]));
    assert_eq!(completed("city", "ath").await, json!(["ath-greece"]));
    assert_eq!(completed("startDay", "").await, json!(["today"]));
    assert_eq!(completed("people", "").await, json!([]));
}
