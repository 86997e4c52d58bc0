//! Asking the client in rounds: what is asked, what comes back, what runs once, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use trunkline_protocol::Revision;
use trunkline_server::sdk::elicitation::{Consent, Elicited};
use trunkline_server::sdk::sampling::CreateMessage;
use trunkline_server::sdk::{
    Context, DynPrompt, DynResource, DynTool, PromptError, ResourceError, Server, ToolError,
};

use crate::peer::{ALL, Peer, accept, text};

#[derive(Debug, Deserialize, JsonSchema)]
struct Name {
    /// Who you are.
    #[schemars(length(min = 1))]
    name: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Sure {
    sure: bool,
}

fn named(answer: Elicited<Name>) -> Result<String, ToolError> {
    answer.accepted().map(|answer| answer.name)
}

fn tool<F, O>(name: &'static str, handler: F) -> DynTool
where
    F: Fn(Context) -> O + Send + Sync + 'static,
    O: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    DynTool::new(name)
        .description("A tool of the test.")
        .input_schema(json!({ "type": "object", "properties": { "a": { "type": "number" } } }))
        .handler(handler)
}

fn greeter() -> Peer {
    Peer::new(Server::new("test", "1").tool(tool("greet", |ctx| async move {
        let name = named(ctx.elicit::<Name>("What is your name?").key("user_name").await)?;
        Ok(format!("hello {name}"))
    })))
}

#[tokio::test]
async fn a_question_ends_the_request_and_its_answer_lets_it_end() {
    let peer = greeter();
    let asked = peer.call("greet", json!({})).await;
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(
        asked["inputRequests"],
        json!({ "user_name": { "method": "elicitation/create", "params": {
            "mode": "form",
            "message": "What is your name?",
            "requestedSchema": {
                "type": "object",
                "properties": { "name": { "type": "string", "description": "Who you are.", "minLength": 1 } },
                "required": ["name"],
            },
        } } })
    );
    let done = peer
        .answer("greet", json!({}), &asked, json!({ "user_name": accept(json!({ "name": "Ann" })) }))
        .await;
    assert_eq!((done["resultType"].as_str(), text(&done)), (Some("complete"), "hello Ann"));
}

#[tokio::test]
async fn declined_and_cancelled_are_answers_too() {
    let peer = greeter();
    let asked = peer.call("greet", json!({})).await;
    for (action, word) in [("decline", "declined"), ("cancel", "closed")] {
        let answers = json!({ "user_name": { "action": action } });
        let done = peer.answer("greet", json!({}), &asked, answers).await;
        assert_eq!(done["isError"], true);
        assert!(text(&done).contains(word), "{done}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_or_is_missing_is_asked_for_again() {
    let peer = greeter();
    let asked = peer.call("greet", json!({})).await;
    for answers in [
        json!({}),
        json!({ "wrong_key": accept(json!({ "name": "Ann" })) }),
        json!({ "user_name": accept(json!({ "name": "" })) }),
        json!({ "user_name": accept(json!({ "name": 7 })) }),
        json!({ "user_name": { "action": "accept" } }),
        json!({ "user_name": { "action": "maybe" } }),
    ] {
        let again = peer.answer("greet", json!({}), &asked, answers).await;
        assert_eq!(again["inputRequests"], asked["inputRequests"]);
        let good = json!({ "user_name": accept(json!({ "name": "Ann", "unasked": 1 })), "other": {} });
        let done = peer.answer("greet", json!({}), &again, good).await;
        assert_eq!(text(&done), "hello Ann");
    }
}

#[tokio::test]
async fn answers_are_taken_by_key_without_any_state() {
    let peer = greeter();
    let send = |responses: Value| peer.send("greet", json!({}), Some(responses), None);
    let done =
        send(json!({ "user_name": accept(json!({ "name": "Ann" })), "x": {}, "y": {} })).await.unwrap();
    assert_eq!(text(&done), "hello Ann");
    let again = send(json!({ "wrong_key": {} })).await.unwrap();
    assert_eq!(again["resultType"], "input_required");
    for bad in [json!({ "user_name": 12345 }), Value::Null, json!([]), json!("x")] {
        assert_eq!(send(bad).await.unwrap_err()["code"], -32602);
    }
}

/// Asks twice, with a step before and between.
fn wizard(steps: &Arc<AtomicUsize>, starts: &Arc<AtomicUsize>) -> Peer {
    let (steps, starts) = (Arc::clone(steps), Arc::clone(starts));
    Peer::new(Server::new("test", "1").tool(tool("wizard", move |ctx| {
        let (steps, starts) = (Arc::clone(&steps), Arc::clone(&starts));
        async move {
            starts.fetch_add(1, Ordering::SeqCst);
            let count = || async { steps.fetch_add(1, Ordering::SeqCst) };
            let first = ctx.step("count", count()).await;
            let name = named(ctx.elicit::<Name>("Name?").await)?;
            let second = ctx.step("count", count()).await;
            let sure = ctx.elicit::<Sure>(format!("{name}, are you sure?")).await.accepted()?.sure;
            Ok(format!("{name} {sure} {first} {second}"))
        }
    })))
}

#[tokio::test]
async fn later_rounds_get_the_earlier_answers_back_and_steps_run_once() {
    let (steps, starts) = (Arc::default(), Arc::default());
    let peer = wizard(&steps, &starts);
    let first = peer.call("wizard", json!({})).await;
    assert_eq!(first["inputRequests"]["q1"]["params"]["message"], "Name?");
    // Each retry carries the answers of its round alone.
    let second =
        peer.answer("wizard", json!({}), &first, json!({ "q1": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(second["inputRequests"]["q2"]["params"]["message"], "Ann, are you sure?");
    assert_eq!(second["inputRequests"].as_object().unwrap().len(), 1);
    assert_ne!(first["requestState"], second["requestState"]);
    let done =
        peer.answer("wizard", json!({}), &second, json!({ "q2": accept(json!({ "sure": true })) })).await;
    assert_eq!(text(&done), "Ann true 0 1");
    assert_eq!((steps.load(Ordering::SeqCst), starts.load(Ordering::SeqCst)), (2, 3));
    // A state is no secret of one node, and may come back twice.
    let done =
        peer.answer("wizard", json!({}), &second, json!({ "q2": accept(json!({ "sure": false })) })).await;
    assert_eq!(text(&done), "Ann false 0 1");
}

#[tokio::test]
async fn a_failed_step_is_not_remembered() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", move |ctx| {
        let runs = Arc::clone(&counted);
        async move {
            let work = async {
                match runs.fetch_add(1, Ordering::SeqCst) {
                    0 => Err("not yet"),
                    number => Ok(number),
                }
            };
            let result = ctx.try_step("work", work).await;
            let name = named(ctx.elicit::<Name>("Name?").await)?;
            Ok(format!("{name} {result:?}"))
        }
    })));
    let asked = peer.call("t", json!({})).await;
    let again = peer.answer("t", json!({}), &asked, json!({})).await;
    let done = peer.answer("t", json!({}), &again, json!({ "q1": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(text(&done), "Ann Ok(1)");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn questions_asked_together_go_out_together_and_may_be_answered_one_by_one() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("all", |ctx| async move {
        let (name, capital, roots) = tokio::join!(
            ctx.elicit::<Name>("Name?").key("name"),
            ctx.sample(CreateMessage::new(100).user("What is the capital of France?")).key("capital"),
            ctx.roots(),
        );
        Ok(format!("{} {} {}", named(name)?, capital.text(), roots.len()))
    })));
    let asked = peer.call("all", json!({})).await;
    let requests = asked["inputRequests"].as_object().unwrap();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests["name"]["method"], "elicitation/create");
    assert_eq!(requests["capital"]["method"], "sampling/createMessage");
    assert_eq!(requests["capital"]["params"]["maxTokens"], 100);
    let roots_key = requests.keys().find(|key| key.starts_with('q')).unwrap().clone();
    assert_eq!(requests[&roots_key]["method"], "roots/list");
    let capital = json!({ "role": "assistant", "content": { "type": "text", "text": "Paris" }, "model": "m", "stopReason": "endTurn" });
    let asked = peer.answer("all", json!({}), &asked, json!({ "capital": capital })).await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().len(), 2);
    let asked =
        peer.answer("all", json!({}), &asked, json!({ "name": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), [&roots_key]);
    let roots =
        json!({ roots_key: { "roots": [{ "uri": "file:///a", "name": "A" }, { "uri": "file:///b" }] } });
    let done = peer.answer("all", json!({}), &asked, roots).await;
    assert_eq!(text(&done), "Ann Paris 2");
}

#[tokio::test]
async fn a_round_does_not_end_while_a_step_runs() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        let slow = async {
            let number = ctx
                .step("slow", async {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    7
                })
                .await;
            (number, ctx.elicit::<Sure>("Sure?").await.is_accepted())
        };
        let (name, (number, sure)) = tokio::join!(ctx.elicit::<Name>("Name?"), slow);
        Ok(format!("{} {number} {sure}", named(name)?))
    })));
    let asked = peer.call("t", json!({})).await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().len(), 2, "the question after the step is in it");
    let answers = json!({ "q1": accept(json!({ "name": "Ann" })), "q2": accept(json!({ "sure": true })) });
    let done = peer.answer("t", json!({}), &asked, answers).await;
    assert_eq!(text(&done), "Ann 7 true");
}

#[tokio::test]
async fn one_key_in_a_loop_makes_a_question_for_each_turn() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        let mut names = Vec::new();
        for _ in 0..2 {
            names.push(named(ctx.elicit::<Name>("Name?").key("name").await)?);
        }
        Ok(names.join(" "))
    })));
    let first = peer.call("t", json!({})).await;
    let second =
        peer.answer("t", json!({}), &first, json!({ "name": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(second["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["name-2"]);
    let done =
        peer.answer("t", json!({}), &second, json!({ "name-2": accept(json!({ "name": "Bob" })) })).await;
    assert_eq!(text(&done), "Ann Bob");
}

#[tokio::test]
async fn a_question_of_a_task_of_its_own_ends_the_round_too() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ctx.elicit::<Name>("Name?").await
        });
        let answer = tasks.join_next().await.unwrap().map_err(|_| "no answer")?;
        named(answer)
    })));
    let asked = peer.call("t", json!({})).await;
    let done = peer.answer("t", json!({}), &asked, json!({ "q1": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(text(&done), "Ann");
}

/// A [`Name`] that takes its time to be read, and says when that begins.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it is only asked for")]
struct Late {
    name: String,
}

static READING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(0);

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READING.add_permits(1);
        // Long enough for the call to have looked whether its round is over.
        let (_open, never) = std::sync::mpsc::channel::<()>();
        let _ = never.recv_timeout(Duration::from_millis(100));
        Name::deserialize(deserializer).map(|Name { name }| Self { name })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_ends_when_the_last_earlier_answer_is_read_by_a_task_of_its_own() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        let (asking, mut tasks) = (ctx.clone(), tokio::task::JoinSet::new());
        tasks.spawn(async move { asking.elicit::<Late>("Name?").key("early").await });
        READING.acquire().await.map_err(|_| "closed")?.forget();
        named(ctx.elicit::<Name>("Again?").key("later").await)
    })));
    let first = peer.call("t", json!({})).await;
    let answer = json!({ "early": accept(json!({ "name": "Ann" })) });
    let second = peer.answer("t", json!({}), &first, answer);
    let second = tokio::time::timeout(Duration::from_secs(5), second).await.unwrap();
    assert_eq!(second["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["later"]);
}

#[tokio::test]
async fn a_question_nobody_waits_for_is_not_asked() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        {
            let mut dropped = ctx.elicit::<Name>("Never mind.");
            assert!(futures_util::poll!(&mut dropped).is_pending());
        }
        named(ctx.elicit::<Name>("Name?").key("name").await)
    })));
    let asked = peer.call("t", json!({})).await;
    assert_eq!(asked["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["name"]);
    let done = peer.answer("t", json!({}), &asked, json!({ "name": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(text(&done), "Ann");
}

#[tokio::test]
async fn a_state_is_refused_when_it_is_altered_or_of_another_request() {
    let peer = greeter();
    let asked = peer.call("greet", json!({ "a": 1 })).await;
    let answers = json!({ "user_name": accept(json!({ "name": "Ann" })) });
    let state = asked["requestState"].as_str().unwrap().to_owned();
    let send =
        |arguments: Value, state: String| peer.send("greet", arguments, Some(answers.clone()), Some(state));
    assert_eq!(send(json!({ "a": 1 }), format!("{state}-TAMPERED")).await.unwrap_err()["code"], -32602);
    assert_eq!(send(json!({ "a": 2 }), state.clone()).await.unwrap_err()["code"], -32602);
    let bob = peer.as_caller("bob");
    let other = bob.send("greet", json!({ "a": 1 }), Some(answers.clone()), Some(state.clone()));
    assert_eq!(other.await.unwrap_err()["code"], -32602);
    assert_eq!(text(&send(json!({ "a": 1.0 }), state).await.unwrap()), "hello Ann");
}

#[tokio::test]
async fn too_much_state_is_an_error_that_says_so() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        let text = ctx.step("read", async { "x".repeat(17_000) }).await;
        named(ctx.elicit::<Name>(format!("{} bytes?", text.len())).await)
    })));
    let failure = peer.send("t", json!({}), None, None).await.unwrap_err();
    assert_eq!(failure["code"], -32603);
    assert!(failure["message"].as_str().unwrap().contains("16384"), "{failure}");
}

#[tokio::test]
async fn asking_something_else_in_a_later_round_is_an_error() {
    let round = Arc::new(AtomicUsize::new(0));
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", move |ctx| {
        let round = round.fetch_add(1, Ordering::SeqCst);
        async move {
            let questions = if round == 0 { ["a", "b"] } else { ["b", "a"] };
            for question in questions {
                named(ctx.elicit::<Name>(question).await)?;
            }
            Ok("done".to_owned())
        }
    })));
    let asked = peer.call("t", json!({})).await;
    let answers = json!({ "q1": accept(json!({ "name": "Ann" })) });
    let state = asked["requestState"].as_str().map(str::to_owned);
    let failure = peer.send("t", json!({}), Some(answers), state).await.unwrap_err();
    assert_eq!(failure["code"], -32603);
    assert!(failure["message"].as_str().unwrap().contains("differ"), "{failure}");
}

#[tokio::test]
async fn a_question_inside_a_step_is_an_error_that_says_so() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        ctx.step("ask", async { ctx.elicit::<Name>("Name?").await.is_accepted() }).await;
        Ok(String::new())
    })));
    let failure = peer.send("t", json!({}), None, None).await.unwrap_err();
    assert_eq!(failure["code"], -32603);
    assert!(failure["message"].as_str().unwrap().contains("inside a step"), "{failure}");
}

#[tokio::test]
async fn what_the_client_did_not_declare_is_not_asked_for_but_named() {
    let peer = Peer::new(
        Server::new("test", "1")
            .tool(tool("form", |ctx| async move { named(ctx.elicit::<Name>("Name?").await) }))
            .tool(tool("url", |ctx| async move {
                ctx.elicit_url("Log in", "https://example.com/").await.accepted()?;
                Ok(String::new())
            }))
            .tool(tool("sample", |ctx| async move {
                Ok(ctx.sample(CreateMessage::new(1).user("hi")).await.text())
            }))
            .tool(tool("roots", |ctx| async move { Ok(ctx.roots().await.len().to_string()) }))
            .tool(tool("either", |ctx| async move {
                if ctx.can_elicit() {
                    return named(ctx.elicit::<Name>("Name?").await);
                }
                Ok(ctx.sample(CreateMessage::new(1).user("hi")).await.text())
            })),
    );
    for (tool, declared, required) in [
        ("form", json!({}), json!({ "elicitation": {} })),
        ("form", json!({ "elicitation": { "url": {} } }), json!({ "elicitation": { "form": {} } })),
        ("url", json!({ "elicitation": {} }), json!({ "elicitation": { "url": {} } })),
        ("sample", json!({ "roots": {} }), json!({ "sampling": {} })),
        ("roots", json!({ "sampling": {} }), json!({ "roots": {} })),
    ] {
        let failure = peer.declaring(declared).send(tool, json!({}), None, None).await.unwrap_err();
        assert_eq!(failure["code"], -32021);
        assert_eq!(failure["data"], json!({ "requiredCapabilities": required }));
    }
    let asked = peer.declaring(json!({ "sampling": {} })).call("either", json!({})).await;
    assert_eq!(asked["inputRequests"]["q1"]["method"], "sampling/createMessage");
}

#[tokio::test]
async fn an_address_is_consented_to() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        Ok(match ctx.elicit_url("Log in", "https://example.com/a").key("login").await {
            Consent::Accepted => "opened",
            Consent::Declined => "declined",
            Consent::Cancelled => "cancelled",
        }
        .to_owned())
    })));
    let asked = peer.call("t", json!({})).await;
    let params = json!({ "mode": "url", "message": "Log in", "url": "https://example.com/a" });
    assert_eq!(asked["inputRequests"]["login"], json!({ "method": "elicitation/create", "params": params }));
    for (action, expected) in [("accept", "opened"), ("decline", "declined"), ("cancel", "cancelled")] {
        let done = peer.answer("t", json!({}), &asked, json!({ "login": { "action": action } })).await;
        assert_eq!(text(&done), expected);
    }
}

#[tokio::test]
async fn an_address_nobody_should_open_fails_the_call_and_is_not_repeated() {
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", |ctx| async move {
        ctx.elicit_url("Log in", "https://ann:hunter2@example.com/").await.accepted()?;
        Ok(String::new())
    })));
    let failure = peer.send("t", json!({}), None, None).await.unwrap_err();
    assert_eq!(failure["code"], -32603);
    let told = failure["message"].as_str().unwrap();
    assert!(told.contains("holds credentials") && !failure.to_string().contains("hunter2"), "{failure}");
}

#[tokio::test]
async fn a_form_may_be_written_by_hand_and_one_that_is_none_fails_the_call() {
    #[derive(Debug, Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "it is never filled")]
    struct Nested {
        name: Name,
    }
    let peer = Peer::new(
        Server::new("test", "1")
            .tool(tool("hand", |ctx| async move {
                let schema =
                    json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 3 } } });
                let answer = ctx.elicit::<Value>("How many?").schema(schema).await.accepted()?;
                Ok(answer.to_string())
            }))
            .tool(tool("nested", |ctx| async move {
                ctx.elicit::<Nested>("?").await.accepted()?;
                Ok(String::new())
            })),
    );
    let asked = peer.call("hand", json!({})).await;
    let again = peer.answer("hand", json!({}), &asked, json!({ "q1": accept(json!({ "n": 4 })) })).await;
    assert_eq!(again["resultType"], "input_required");
    let done = peer.answer("hand", json!({}), &again, json!({ "q1": accept(json!({ "n": 3 })) })).await;
    assert_eq!(text(&done), r#"{"n":3}"#);
    let failure = peer.send("nested", json!({}), None, None).await.unwrap_err();
    assert_eq!(failure["code"], -32603);
    assert!(failure["message"].as_str().unwrap().contains("`name`"), "{failure}");
}

#[tokio::test]
async fn prompts_and_resources_ask_as_tools_do() {
    let prompt = DynPrompt::new("p").description("Asks.").handler(|ctx| async move {
        let answer = ctx.elicit::<Name>("Name?").key("context").await.ok();
        answer.map(|answer| answer.name).ok_or_else(|| PromptError::new("no name"))
    });
    let resource = DynResource::new("test://r", "r").description("Asks.").handler(|ctx| async move {
        let answer = ctx.elicit::<Name>("Name?").await.ok();
        answer.map(|answer| answer.name).ok_or_else(|| ResourceError::new("no name"))
    });
    let peer = Peer::new(Server::new("test", "1").prompt(prompt).resource(resource));
    for (method, params, key) in [
        ("prompts/get", json!({ "name": "p" }), "context"),
        ("resources/read", json!({ "uri": "test://r" }), "q1"),
    ] {
        let asked = peer.request(method, params.clone()).await.unwrap();
        assert_eq!(asked["inputRequests"][key]["method"], "elicitation/create", "{asked}");
        let mut again = params;
        again["inputResponses"] = json!({ key: accept(json!({ "name": "Ann" })) });
        again["requestState"] = asked["requestState"].clone();
        let done = peer.request(method, again).await.unwrap();
        assert_eq!(done["resultType"], "complete");
        assert!(done.to_string().contains("Ann"), "{done}");
    }
}

#[tokio::test]
async fn a_session_of_the_handshake_era_asks_through_the_same_rounds() {
    let peer = greeter().speaking(Revision::V2025_11_25, json!({ "elicitation": {} }));
    let asked = peer.round("greet", json!({}), None).await;
    let (requests, state) = asked.unwrap_err();
    assert_eq!(requests["user_name"]["method"], "elicitation/create");
    let answers = json!({ "user_name": accept(json!({ "name": "Ann" })) });
    let done = peer.round("greet", json!({}), Some((answers, state))).await.unwrap();
    assert_eq!(text(&done), "hello Ann");
}

#[tokio::test]
async fn what_a_call_gave_to_others_hears_that_its_round_ended() {
    let (sender, mut tokens) = tokio::sync::mpsc::channel(1);
    let peer = Peer::new(Server::new("test", "1").tool(tool("t", move |ctx| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(ctx.cancellation()).await;
            named(ctx.elicit::<Name>("Name?").await)
        }
    })));
    let asked = peer.call("t", json!({})).await;
    assert!(tokens.recv().await.unwrap().is_cancelled());
    let done = peer.answer("t", json!({}), &asked, json!({ "q1": accept(json!({ "name": "Ann" })) })).await;
    assert_eq!(text(&done), "Ann");
    assert!(!tokens.recv().await.unwrap().is_cancelled());
    assert_eq!(ALL["sampling"], json!({}));
}
