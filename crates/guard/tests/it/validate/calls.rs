//! Whole requests through a router whose tools and prompts are checked.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_guard::validate::{SchemaError, Validate, ValidatePrompt, problems};
use trunkline_protocol::{Method, Revision, scan};
use trunkline_service::catalog::{Entry, Parts, Served};
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::seal::Sealer;
use trunkline_service::shared::InMemory;
use trunkline_service::{
    Annotations, Answer, Caller, Catalog, Outcome, PromptArgument, PromptDefinition, Reply, Request, Router,
    RouterOptions, ServerInfo, Service, ToolDefinition, ToolName, ready,
};

/// Answers with the name and the arguments that reached it.
struct Echo;

impl Service for Echo {
    fn call(&self, request: Request) -> Answer<'_> {
        let arguments = std::str::from_utf8(request.arguments()).unwrap();
        let again = scan(request.body()).unwrap().1;
        assert_eq!(
            again.arguments.raw(request.body()),
            arguments.as_bytes(),
            "spans are where the body has them"
        );
        ready(Ok(Reply::text(&format!("{} {arguments}", request.name().unwrap()))))
    }
}

pub(super) fn definition(name: &str, input: Value, output: Option<Value>) -> ToolDefinition {
    ToolDefinition {
        name: ToolName::new(name).unwrap(),
        title: None,
        description: String::new(),
        input_schema: input,
        output_schema: output,
        annotations: Annotations::READ_ONLY,
        icons: Vec::new(),
        meta: None,
    }
}

pub(super) fn request(method: Method, params: &str) -> Request {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{params}}}"#, method.as_str());
    let body = Bytes::from(body);
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, method, Revision::LATEST, Caller::local(), 1)
}

/// The text of an answer, and whether it is an error; of a failure its text.
pub(super) fn told(outcome: Outcome) -> Result<String, String> {
    let reply = outcome.map_err(|failure| failure.public().to_owned())?;
    let members = [b"{", reply.members(), b"}"].concat();
    let result: Value = serde_json::from_slice(&members).unwrap();
    let text = result["content"][0]["text"].as_str().unwrap().to_owned();
    if reply.is_error() { Err(text) } else { Ok(text) }
}

fn entry() -> Entry {
    let schema = json!({
        "type": "object",
        "properties": {
            "query": { "type": "string" },
            "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 10 },
            "pin": { "type": "string", "maxLength": 2 },
        },
        "additionalProperties": false,
    });
    let mut entry = Entry::new(definition("search", schema, None), Arc::new(Echo), 0);
    entry.facts.secrets = vec!["pin".into()];
    entry
}

fn router() -> (Router, Arc<Validate>) {
    let mut entry = entry();
    let validate = Arc::new(Validate::of(&entry).unwrap());
    entry.checks = Arc::new([Arc::clone(&validate) as _]);
    let argument =
        |name: &str, required| PromptArgument { name: name.into(), required, ..PromptArgument::default() };
    let definition = PromptDefinition {
        name: "greet".into(),
        arguments: vec![argument("person", true), argument("language", false)],
        ..PromptDefinition::default()
    };
    let check = ValidatePrompt::of(&definition).unwrap();
    let mut prompt = Served::new(definition, Arc::new(Echo) as Arc<dyn Service>, 0);
    prompt.checks = Arc::new([Arc::new(check) as _]);
    let parts = Parts { tools: vec![entry], prompts: vec![prompt], ..Parts::default() };
    let catalog = Catalog::of(parts, 50, &Arc::new(Sealer::random().unwrap())).unwrap();
    let options = RouterOptions::new(Arc::new(InMemory::default()));
    (Router::new(Arc::new(catalog), &ServerInfo::new("toy", "1"), options), validate)
}

#[tokio::test]
async fn defaults_reach_the_tool_whether_arguments_were_sent_or_not() {
    let (router, _) = router();
    for (params, text) in [
        (r#"{"name":"search"}"#, r#"search {"limit":10}"#),
        (r#"{ "_meta" : {"a":1}, "name":"search" }"#, r#"search {"limit":10}"#),
        (r#"{"name":"search","arguments":null,"_meta":{}}"#, r#"search {"limit":10}"#),
        (r#"{"arguments":{},"name":"search"}"#, r#"search {"limit":10}"#),
        (
            r#"{"name":"search","arguments":{"query":"\u00e9","limit":3}}"#,
            r#"search {"query":"\u00e9","limit":3}"#,
        ),
        (
            r#"{"name":"search","arguments":{"toolCallId":"x","query":"a"},"x":1}"#,
            r#"search {"query":"a","limit":10}"#,
        ),
    ] {
        assert_eq!(
            told(router.call(request(Method::ToolsCall, params)).await).as_deref(),
            Ok(text),
            "{params}"
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_is_answered_for_a_model_and_counted() {
    let (router, validate) = router();
    for (arguments, text) in [
        (
            r#"{"limit":0,"querry":"x"}"#,
            "the arguments were not accepted: `args.limit`: found the number 0, allowed is an integer from 1 to 100; `args.querry` is unknown, did you mean `query`?",
        ),
        (
            r#"{"pin":"hunter2"}"#,
            "the arguments were not accepted: `args.pin`: found a string, allowed is a string of at most 2 characters",
        ),
        (
            r#"{"pin":{"hunter2":1}}"#,
            "the arguments were not accepted: `args.pin`: found an object, allowed is a string of at most 2 characters",
        ),
    ] {
        let params = format!(r#"{{"name":"search","arguments":{arguments}}}"#);
        assert_eq!(told(router.call(request(Method::ToolsCall, &params)).await), Err(text.to_owned()));
    }
    let mut page = Page::new();
    validate.read(&mut page);
    let page = page.into_text();
    assert!(page.contains("trunkline_validate_checked_total{tool=\"search\"} 3\n"), "{page}");
    assert!(page.contains("trunkline_validate_refused_total{tool=\"search\"} 3\n"), "{page}");
}

#[tokio::test]
async fn a_prompt_takes_strings_and_what_it_requires() {
    let (router, _) = router();
    let ask = |arguments: &str| {
        let params = format!(r#"{{"name":"greet","arguments":{arguments}}}"#);
        router.call(request(Method::PromptsGet, &params))
    };
    for (arguments, text) in [
        (r#"{"person":"Ann"}"#, Ok(r#"greet {"person":"Ann"}"#)),
        (r#"{"person":"Ann","language":null}"#, Ok(r#"greet {"person":"Ann"}"#)),
        ("{}", Err("the arguments were not accepted: `args.person` is required: a string")),
        (
            r#"{"person":3}"#,
            Err("the arguments were not accepted: `args.person`: found the number 3, allowed is a string"),
        ),
        (
            r#"{"person":"Ann","langage":"de"}"#,
            Err("the arguments were not accepted: `args.langage` is unknown, did you mean `language`?"),
        ),
        (
            r#"{"person":"Ann","mood":"sad"}"#,
            Err(
                "the arguments were not accepted: `args.mood` is unknown; this prompt takes `person`, `language`",
            ),
        ),
    ] {
        assert_eq!(told(ask(arguments).await), text.map(str::to_owned).map_err(str::to_owned), "{arguments}");
    }
}

#[test]
fn a_bad_schema_is_a_problem_of_its_tool_and_of_no_other() {
    let bad = |schema| Entry::new(definition("bad", schema, None), Arc::new(Echo), 0);
    let remote = bad(json!({ "$ref": "https://example.com/schema.json" }));
    assert!(matches!(Validate::of(&remote), Err(SchemaError::Elsewhere(_))));
    let output = Some(json!({ "type": "nothing" }));
    let promise = Entry::new(definition("promise", json!({ "type": "object" }), output), Arc::new(Echo), 0);
    let prompt = |name: &str, count: usize| {
        let argument = |number| PromptArgument { name: format!("a{number}"), ..PromptArgument::default() };
        let arguments = (0..count).map(argument).collect();
        Served::new(
            PromptDefinition { name: name.into(), arguments, ..PromptDefinition::default() },
            Arc::new(Echo),
            0,
        )
    };
    let prompts = vec![prompt("fine", 3), prompt("endless", 20_000)];
    let parts = Parts { tools: vec![entry(), remote, promise], prompts, ..Parts::default() };
    let found = problems(&parts);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[2].path, ["prompts", "endless"]);
    assert!(
        found[0].path.ends_with(&["bad".to_owned()])
            && found[0].message.contains("`https://example.com/schema.json`")
    );
    assert!(found[1].path.ends_with(&["promise".to_owned()]), "{found:?}");
}
