//! What `src/main.rs` says one will see, seen through its binary.

#![expect(clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use serde_json::{Value, json};
use trunkline_example_tests::{Client, Example, Stdio, text};

const BINARY: &str = env!("CARGO_BIN_EXE_wizard");

/// A user: a name for each question that may come, and what is answered to it.
struct User<'a> {
    answers: &'a [(&'a str, Value)],
    asked: Vec<String>,
}

impl<'a> User<'a> {
    fn new(answers: &'a [(&'a str, Value)]) -> Self {
        Self { answers, asked: Vec::new() }
    }

    /// Answers by the beginning of the question.
    fn answer(&mut self, question: &Value) -> Value {
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let message = question["params"]["message"].as_str().unwrap_or_default();
        self.asked.push(message.to_owned());
        let found = self.answers.iter().find(|(begins, _)| message.starts_with(begins));
        found.map(|(_, answer)| answer.clone()).unwrap_or_else(|| panic!("nobody expected: {message}"))
    }
}

fn accept(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

fn party(guests: u8) -> (&'static str, Value) {
    ("Who is coming", accept(json!({ "name": "Ada", "date": "2027-03-01", "guests": guests })))
}

fn seating(seating: &str) -> (&'static str, Value) {
    ("Where would you like", accept(json!({ "seating": seating })))
}

fn yes() -> (&'static str, Value) {
    ("Shall I book", accept(json!({ "yes": true })))
}

async fn both_eras(example: &Example, capabilities: Value) -> [Client; 2] {
    [Client::modern(example.mcp(), capabilities.clone()), Client::legacy(example.mcp(), capabilities).await]
}

async fn ledger(client: &Client) -> Value {
    client.call("ledger", json!({})).await["result"]["structuredContent"].clone()
}

fn forms() -> Value {
    json!({ "elicitation": { "form": {} } })
}

#[tokio::test]
async fn three_answers_book_a_table_that_was_held_once() {
    for era in 0..2 {
        let example = Example::start(BINARY).await;
        let client = &both_eras(&example, forms()).await[era];
        let answers = [party(2), seating("terrace"), yes()];
        let mut user = User::new(&answers);
        let answer = client.call_answering("book_table", json!({}), |question| user.answer(question)).await;
        assert_eq!(
            text(&answer),
            "booked: table 1 for 2 on 2027-03-01, Terrace, in the name of Ada",
            "asked {:?}",
            user.asked
        );
        assert_eq!(user.asked.len(), 3);
        assert_eq!(ledger(client).await, json!({ "ever_held": 1, "booked": 1, "held": 0 }));
    }
}

#[tokio::test]
async fn a_large_party_is_asked_about_the_kitchen_and_a_small_one_is_not() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example, forms()).await {
        let kitchen = ("What shall the kitchen", accept(json!({ "one_menu": true, "allergies": "nuts" })));
        let answers = [party(12), seating("inside"), kitchen, yes()];
        let mut user = User::new(&answers);
        let answer = client.call_answering("book_table", json!({}), |question| user.answer(question)).await;
        assert!(text(&answer).ends_with("in the name of Ada, one menu for all, without nuts"), "{answer}");
        assert_eq!(user.asked.len(), 4, "{:?}", user.asked);
    }
}

#[tokio::test]
async fn the_private_room_asks_for_a_deposit_where_the_client_opens_addresses() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example, json!({ "elicitation": { "form": {}, "url": {} } })).await {
        let deposit = ("The private room needs", json!({ "action": "accept" }));
        let answers = [party(4), seating("private_room"), deposit, yes()];
        let mut addresses = Vec::new();
        let mut user = User::new(&answers);
        let answer = client
            .call_answering("book_table", json!({}), |question| {
                addresses.extend(question["params"]["url"].as_str().map(str::to_owned));
                user.answer(question)
            })
            .await;
        assert!(text(&answer).starts_with("booked: "), "{answer}");
        assert!(
            addresses.len() == 1 && addresses[0].starts_with("https://restaurant.example/deposit/"),
            "{addresses:?}"
        );
    }
    // A client that only has forms is not asked for one.
    let client = Client::modern(example.mcp(), forms());
    let answers = [party(4), seating("private_room"), yes()];
    let mut user = User::new(&answers);
    let answer = client.call_answering("book_table", json!({}), |question| user.answer(question)).await;
    assert!(text(&answer).starts_with("booked: "), "{answer}");
}

#[tokio::test]
async fn declined_and_closed_questions_leave_nothing_booked() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example, forms()).await {
        for (action, says) in [("decline", "the user declined"), ("cancel", "the user closed")] {
            let place = ("Where would you like", json!({ "action": action }));
            let answers = [party(2), place];
            let mut user = User::new(&answers);
            let answer =
                client.call_answering("book_table", json!({}), |question| user.answer(question)).await;
            assert_eq!(answer["result"]["isError"], true, "{answer}");
            assert!(text(&answer).contains(says), "{answer}");
        }
        for last in [json!({ "action": "decline" }), accept(json!({ "yes": false }))] {
            let answers = [party(2), seating("inside"), ("Shall I book", last)];
            let mut user = User::new(&answers);
            let answer =
                client.call_answering("book_table", json!({}), |question| user.answer(question)).await;
            assert_eq!(text(&answer), "nothing was booked: the user said no");
            assert_ne!(answer["result"]["isError"], true);
        }
        let ledger = ledger(&client).await;
        assert_eq!((&ledger["booked"], &ledger["held"]), (&json!(0), &json!(0)), "{ledger}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_form_is_asked_for_again() {
    let example = Example::start(BINARY).await;
    for client in both_eras(&example, forms()).await {
        let answers = [party(2), seating("inside"), yes()];
        let mut user = User::new(&answers);
        let mut tries = 0;
        let answer = client
            .call_answering("book_table", json!({}), |question| {
                tries += 1;
                if tries == 1 {
                    return accept(json!({ "name": "Ada", "date": "soon", "guests": 200 }));
                }
                user.answer(question)
            })
            .await;
        assert!(text(&answer).starts_with("booked: "), "{answer}");
        assert_eq!(tries, 4);
    }
}

#[tokio::test]
async fn the_forms_show_what_they_take() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), forms());
    let answer = client.call("book_table", json!({})).await;
    let asked = answer["result"]["inputRequests"].as_object().cloned().unwrap_or_default();
    assert_eq!(asked.len(), 1, "{answer}");
    let form = asked
        .values()
        .next()
        .map(|question| question["params"]["requestedSchema"].clone())
        .unwrap_or_default();
    assert_eq!(form["type"], "object", "{form}");
    assert_eq!(form["properties"]["guests"]["maximum"], 20, "{form}");
    assert_eq!(form["properties"]["date"]["format"], "date", "{form}");
    assert_eq!(form["required"], json!(["name", "date", "guests"]));
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_is_told_what_is_missing() {
    let example = Example::start(BINARY).await;
    let client = Client::modern(example.mcp(), json!({}));
    let answer = client.call("book_table", json!({})).await;
    assert_eq!(answer["error"]["code"], -32021, "{answer}");
    assert!(answer["error"]["data"]["requiredCapabilities"].get("elicitation").is_some(), "{answer}");
}

#[tokio::test]
async fn it_asks_over_stdio_as_well() {
    let mut stdio = Stdio::start(BINARY, forms());
    let mut params = json!({ "name": "book_table", "arguments": {} });
    let answers = [party(2), seating("inside"), yes()];
    let mut user = User::new(&answers);
    let answer = loop {
        let answer = stdio.ask("tools/call", params.clone()).await;
        if answer["result"]["resultType"] != "input_required" {
            break answer;
        }
        let asked = answer["result"]["inputRequests"].as_object().cloned().unwrap_or_default();
        params["inputResponses"] =
            asked.iter().map(|(key, question)| (key.clone(), user.answer(question))).collect();
        params["requestState"] = answer["result"]["requestState"].clone();
    };
    assert!(text(&answer).starts_with("booked: table 1 "), "{answer}");
    assert!(stdio.end().await.success());
}
