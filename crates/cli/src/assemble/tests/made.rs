//! A connector that has prompts and templates, which no kind of connector in a file has many of, behind the guards of a file.

use trunkline_postgres::{NodeStatus, Writer};
use trunkline_service::catalog::{Parts, PromptArgument, Served as Entered};
use trunkline_service::meter::{Meter as _, Page};
use trunkline_service::notices::Notices;
use trunkline_service::{Answer, PromptDefinition, TemplateDefinition, ToolDefinition};
use trunkline_sql::{BoxFuture, DatabaseError, Problem};

use super::*;
use crate::config::Connector;

/// More than a page has.
const COUNT: usize = PAGE_SIZE + 6;

/// What it has, which answers with what it was asked.
#[derive(Debug, Default)]
struct Made {
    prompts: Vec<PromptDefinition>,
    templates: Vec<TemplateDefinition>,
}

struct Echo;

impl Service for Echo {
    fn call(&self, request: Request) -> Answer<'_> {
        trunkline_service::ready(Ok(Reply::text(&String::from_utf8_lossy(request.arguments()))))
    }
}

impl Source for Made {
    fn learn(&self) -> BoxFuture<'_, Vec<Problem>> {
        Box::pin(async { Vec::new() })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async { Ok(()) })
    }

    fn setup_sql(&self) -> BoxFuture<'_, Option<Result<String, DatabaseError>>> {
        Box::pin(async { None })
    }

    fn settle(&self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn nodes(&self) -> Vec<NodeStatus> {
        Vec::new()
    }

    fn writer(&self, _: Duration) -> Option<Writer> {
        None
    }

    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    fn notices(&self) -> Option<Arc<dyn Notices>> {
        None
    }

    fn definitions(&self) -> Vec<ToolDefinition> {
        Vec::new()
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::default();
        parts.prompts.extend(self.prompts.iter().cloned().map(|one| Entered::new(one, Arc::new(Echo), 0)));
        parts
            .templates
            .extend(self.templates.iter().cloned().map(|one| Entered::new(one, Arc::new(Echo), 0)));
        parts
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn generation(&self) -> u64 {
        0
    }

    fn with_tools(&self, _: Connector) -> Arc<dyn Source> {
        Arc::new(Self::default())
    }
}

fn served(made: Made) -> Served {
    let (own, tools) = Default::default();
    Served { name: "made".into(), kind: "made", source: Arc::new(made), own, tools }
}

fn prompt(name: &str, arguments: usize) -> PromptDefinition {
    let argument = |number| PromptArgument {
        name: format!("a{number}"),
        required: number == 0,
        ..PromptArgument::default()
    };
    PromptDefinition {
        name: name.into(),
        arguments: (0..arguments).map(argument).collect(),
        ..PromptDefinition::default()
    }
}

/// Everybody may use all of it.
const NOBODY: &str = "[server]\nname = \"made\"\n";

const ROLES: &str = r#"
[auth.jwt.a]
issuer = "https://i.example"
audience = "x"
[roles.reader]
match = { claim = "group", has = "reader" }
allow = ["prompts:p*", "resources:made://*"]
deny = ["prompts:p255", "resources:made://t255/*"]
[roles.admin]
match = { claim = "group", has = "admin" }
allow = ["prompts:*", "resources:*"]
"#;

/// The names in a list as a caller sees it, and the cursors that led through it.
async fn list(node: &Node, caller: &Arc<Caller>, method: Method, scope: &str) -> (Vec<String>, Vec<String>) {
    let (mut names, mut cursors) = (Vec::new(), Vec::<String>::new());
    loop {
        let params = cursors.last().map_or(json!({}), |cursor| json!({ "cursor": cursor }));
        let page = json(&node.ask(caller, method, params).await.unwrap());
        assert_eq!((&page["ttlMs"], &page["cacheScope"]), (&json!(60_000), &json!(scope)), "{method:?}");
        let things = page.as_object().unwrap().values().find_map(Value::as_array).unwrap();
        names.extend(things.iter().map(|thing| thing["name"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(cursor) => cursors.push(cursor.to_owned()),
            None => return (names, cursors),
        }
    }
}

#[tokio::test]
async fn ca_02_pages_of_prompts_and_templates_are_of_their_callers_roles_and_private() {
    let made = || {
        let template = |number| TemplateDefinition {
            uri_template: format!("made://t{number:03}/{{id}}"),
            name: format!("t{number:03}"),
            ..TemplateDefinition::default()
        };
        let prompts = (0..COUNT).map(|number| prompt(&format!("p{number:03}"), 1)).collect();
        served(Made { prompts, templates: (0..COUNT).map(template).collect() })
    };
    for admin_first in [true, false] {
        let node = Node::with(ROLES, vec![made()]).await;
        let (reader, admin) = (node.caller("ann", "reader"), node.caller("bob", "admin"));
        for (method, letter) in [(Method::PromptsList, 'p'), (Method::ResourcesTemplatesList, 't')] {
            let (first, second) = if admin_first { (&admin, &reader) } else { (&reader, &admin) };
            let seen =
                [list(&node, first, method, "private").await, list(&node, second, method, "private").await];
            let [of_first, of_second] = &seen;
            let (of_admin, of_reader) =
                if admin_first { (of_first, of_second) } else { (of_second, of_first) };
            let all: Vec<String> = (0..COUNT).map(|number| format!("{letter}{number:03}")).collect();
            assert_eq!((&of_admin.0[..], &of_reader.0[..]), (&all[..], &all[..COUNT - 1]));
            for (caller, cursor) in [(&admin, &of_reader.1[0]), (&reader, &of_admin.1[0])] {
                let refused = node.ask(caller, method, json!({ "cursor": cursor })).await.unwrap_err();
                assert!(refused.contains("this cursor is unknown"), "{refused}");
            }
        }
        // What is not in the list of a caller is not there for them.
        let get = async |caller, name: &str| {
            let params = json!({ "name": name, "arguments": { "a0": "x" } });
            node.ask(caller, Method::PromptsGet, params).await
        };
        assert!(get(&admin, "p255").await.is_ok() && get(&reader, "p254").await.is_ok());
        let denied = get(&reader, "p255").await.unwrap_err();
        assert_eq!(denied.replace("p255", ""), get(&reader, "p999").await.unwrap_err().replace("p999", ""));
        node.end().await;
    }
    let node = Node::with(NOBODY, vec![made()]).await;
    let (names, cursors) = list(&node, &Caller::local(), Method::PromptsList, "public").await;
    assert_eq!((names.len(), cursors.len()), (COUNT, 1));
    node.end().await;
}

#[tokio::test]
async fn a_prompt_that_cannot_be_checked_is_left_out_and_told_of_and_the_others_stay() {
    let prompts = vec![prompt("one", 2), prompt("endless", 20_000), prompt("two", 1)];
    let node = Node::with(NOBODY, vec![served(Made { prompts, ..Made::default() })]).await;
    let local = Caller::local();
    assert_eq!(list(&node, &local, Method::PromptsList, "public").await.0, ["one", "two"]);
    let get = async |name: &str, arguments: Value| {
        node.ask(&local, Method::PromptsGet, json!({ "name": name, "arguments": arguments })).await
    };
    let gone = get("endless", json!({ "a0": "x" })).await.unwrap_err();
    assert!(gone.contains("unknown prompt `endless`"), "{gone}");
    assert!(get("one", json!({ "a0": "x" })).await.is_ok());
    let wrong = get("one", json!({ "a1": "x" })).await.unwrap_err();
    assert!(wrong.contains("`args.a0`"), "{wrong}");
    let mut page = Page::new();
    node.lasting.meters.read(&mut page);
    let text = page.into_text();
    let told = "trunkline_validate_quarantined_prompts{connector=\"made\"} 1";
    assert!(text.contains(told), "{text}");
    node.end().await;
}
