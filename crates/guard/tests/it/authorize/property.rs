//! One engine: for random policies, callers and catalogs, what is listed is exactly what may be called or is refused for a scope
//! or a condition, and what is not listed answers as what does not exist, to the byte.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use trunkline_guard::authorize::{Explainer, Scopes, Thing, Verdict};
use trunkline_protocol::Method;
use trunkline_protocol::uri_template::UriTemplate;
use trunkline_service::catalog::Parts;
use trunkline_service::{Caller, Event, Service as _};

use super::world::{Said, World, catalog, policy, prompt, resource, schema, streamed, template, tool};

const TOOLS: [&str; 6] = ["a", "ab", "abc", "search_a", "search_b", "refund"];
const PROMPTS: [&str; 4] = ["a", "ab", "brief a", "refund"];
const RESOURCES: [&str; 4] = ["x://a", "x://t/ab", "x://d/a/b", "y://a"];
const TEMPLATES: [&str; 4] = ["x://t/{id}", "x://d/{+path}", "y://{v}/z", "z://s{?q}"];

fn parts(chosen: &[bool]) -> Parts {
    let mut chosen = chosen.iter().copied().cycle();
    let mut is_in = move || chosen.next().unwrap_or(true);
    let taken = || schema(&[("n", "integer"), ("word", "string")]);
    let tools = TOOLS.iter().filter(|_| is_in()).map(|name| tool(name, taken())).collect();
    let prompts = PROMPTS.iter().filter(|_| is_in()).map(|name| prompt(name, &["n", "word"])).collect();
    let resources = RESOURCES.iter().filter(|_| is_in()).map(|uri| resource(uri)).collect();
    let templates = TEMPLATES.iter().filter(|_| is_in()).map(|uri| template(uri)).collect();
    Parts { tools, prompts, resources, templates }
}

/// URIs that are tried, of every template and of none, spelled well and badly.
fn uris() -> Vec<String> {
    let mut ids: Vec<String> = vec![String::new()];
    for _ in 0..3 {
        let longer: Vec<String> =
            ids.iter().flat_map(|id| ["a", "b", "c"].map(|one| format!("{id}{one}"))).collect();
        ids.extend(longer);
    }
    ids.sort();
    ids.dedup();
    let mut all: Vec<String> = RESOURCES.map(str::to_owned).into();
    for id in &ids {
        all.extend([
            format!("x://t/{id}"),
            format!("x://d/{id}"),
            format!("x://d/a/{id}"),
            format!("y://{id}/z"),
        ]);
        all.push(format!("z://s?q={id}"));
    }
    let odd = [
        "z://s",
        "x://t/%61b",
        "X://t/ab",
        "x://t/..",
        "x://d/a/../b",
        "x://d/%2e%2e/b",
        "x://d/a%2Fb",
        "x://d//a",
        "x://d/a//b",
        "x://t/ab?x",
        "x://t/ab#x",
        "x://t/a%00",
        "x://t/\u{e9}",
        "x://none",
        "none",
        "",
    ];
    all.extend(odd.map(str::to_owned));
    all
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec!["a", "a*", "*b", "search_*", "*", "refund", "ab*c", "*a*"])
            .prop_map(|glob| format!("tools:{glob}")),
        proptest::sample::select(vec!["a", "a*", "brief *", "*", "refund"])
            .prop_map(|glob| format!("prompts:{glob}")),
        proptest::sample::select(vec![
            "*",
            "x://*",
            "x://a",
            "x://t/*",
            "x://t/a*",
            "x://t/ab",
            "x://*b",
            "x://d/a/*",
            "x://d/*",
            "y://*",
            "y://a*/z",
            "y://a",
            "z://s",
            "z://s?q=a*",
            "x://t/a*b",
        ])
        .prop_map(|glob| format!("resources:{glob}")),
    ]
}

/// The text of a role.
fn role(number: usize) -> impl Strategy<Value = String> {
    let patterns = || proptest::collection::vec(pattern(), 0..4);
    let when = proptest::option::weighted(
        0.4,
        proptest::sample::select(vec![
            "caller.claims.level > 1",
            "args.n < 5",
            "'s1' in caller.scopes",
            "has(args.word)",
        ]),
    );
    (patterns(), proptest::collection::vec(pattern(), 0..2), when).prop_map(move |(allow, deny, when)| {
        let when = when.map(|when| format!("when = {when:?}\n")).unwrap_or_default();
        format!(
            "[roles.r{number}]\nmatch = {{ claim = \"groups\", has = \"r{number}\" }}\nallow = {allow:?}\ndeny = {deny:?}\n{when}"
        )
    })
}

#[derive(Debug, Clone)]
struct Case {
    policy: String,
    chosen: Vec<bool>,
    claims: Value,
    scopes: Vec<&'static str>,
    arguments: Value,
}

fn case() -> impl Strategy<Value = Case> {
    let scopes = || proptest::sample::subsequence(vec!["s1", "s2", "s3"], 0..=3);
    let needed = proptest::collection::vec(proptest::option::weighted(0.3, scopes()), TOOLS.len());
    let roles = (role(0), role(1), role(2), role(3));
    let groups = proptest::sample::subsequence(vec!["r0", "r1", "r2", "r3"], 0..=4);
    let level = proptest::option::of(0..4i64);
    let arguments = proptest::sample::select(vec![
        json!({}),
        json!({ "n": 3, "word": "x" }),
        json!({ "n": 9 }),
        json!({ "n": "3" }),
        json!({ "n": "three" }),
    ]);
    (roles, needed, proptest::collection::vec(any::<bool>(), 18), groups, level, scopes(), arguments)
        .prop_map(|((a, b, c, d), needed, chosen, groups, level, scopes, arguments)| {
            let needed = TOOLS
                .iter()
                .zip(needed)
                .filter_map(|(tool, scopes)| Some(format!("scopes.{tool} = {:?}\n", scopes?)));
            let policy = format!("{}{a}{b}{c}{d}", needed.collect::<String>());
            let mut claims = json!({ "groups": groups });
            if let Some(level) = level {
                claims["level"] = level.into();
            }
            Case { policy, chosen, claims, scopes, arguments }
        })
}

/// Everything that is asked in one case.
struct Trial {
    world: World,
    explainer: Explainer,
    caller: Arc<Caller>,
    arguments: Value,
}

impl Trial {
    async fn ask(&self, method: Method, params: Value) -> Said {
        Said::of(self.world.ask(&self.caller, method, params).await)
    }

    /// Compares one list with what comes of asking for each name, and each that is not listed with one that does not exist.
    async fn compare<'n>(
        &self,
        listed: &[String],
        things: impl Iterator<Item = Thing<'n>>,
        ask: impl AsyncFn(&str) -> Said,
    ) {
        for thing in things {
            let (Thing::Tool(name) | Thing::Prompt(name) | Thing::Resource(name)) = thing;
            let said = ask(name).await;
            let is_listed = listed.iter().any(|one| one == name);
            let verdict = self.explainer.explain(
                &self.caller,
                Scopes::Known,
                thing,
                self.arguments.to_string().as_bytes(),
            );
            assert_eq!(verdict.verdict, self.verdict_of(&said, thing), "explained: {name} {said:?}");
            if let Said::Failed(..) = said {
                assert!(!is_listed, "`{name}` is listed, and {said:?}");
                let unknown = name.chars().map(|_| 'q').collect::<String>();
                let other = ask(&unknown).await;
                assert_eq!(
                    said.without(name),
                    other.without(&unknown),
                    "`{name}` can be told from one that is not"
                );
            } else {
                assert!(is_listed, "`{name}` is not listed, and {said:?}");
            }
        }
    }

    fn verdict_of(&self, said: &Said, thing: Thing<'_>) -> Verdict {
        match said {
            Said::Ran => Verdict::Allowed,
            Said::Challenged(_) => Verdict::Challenged,
            Said::Refused(_) => Verdict::Refused,
            Said::Failed(..) => {
                let whole = self.explainer.catalog();
                let exists = match thing {
                    Thing::Tool(name) => whole.find(name.as_bytes()).is_some(),
                    Thing::Prompt(name) => whole.prompt(name).is_some(),
                    // Where the spelling is not the one of the catalog, the guard says no before anybody looks.
                    Thing::Resource(uri) => whole.readable(uri).is_some(),
                };
                if exists { Verdict::Unlisted } else { Verdict::Unknown }
            }
        }
    }

    async fn check(&self) {
        let arguments = &self.arguments;
        let tools = self.world.tools(&self.caller).await;
        let call = async |name: &str| {
            self.ask(Method::ToolsCall, json!({ "name": name, "arguments": arguments })).await
        };
        self.compare(&tools, TOOLS.into_iter().map(Thing::Tool), call).await;

        let prompts = self.world.list(&self.caller, Method::PromptsList, "name").await;
        let get = async |name: &str| {
            self.ask(Method::PromptsGet, json!({ "name": name, "arguments": arguments })).await
        };
        self.compare(&prompts, PROMPTS.into_iter().map(Thing::Prompt), get).await;

        let resources = self.world.list(&self.caller, Method::ResourcesList, "uri").await;
        let read = async |uri: &str| self.ask(Method::ResourcesRead, json!({ "uri": uri })).await;
        let of_templates =
            |uri: &&str| !TEMPLATES.iter().any(|one| UriTemplate::parse(one).unwrap().matches(uri).is_some());
        self.compare(&resources, RESOURCES.into_iter().filter(of_templates).map(Thing::Resource), read).await;
        self.check_templates().await;
        self.check_completions(&prompts).await;
        self.check_subscriptions().await;
        self.check_capabilities(&tools, &prompts).await;
    }

    async fn check_templates(&self) {
        let listed = self.world.list(&self.caller, Method::ResourcesTemplatesList, "uriTemplate").await;
        let resources = self.world.list(&self.caller, Method::ResourcesList, "uri").await;
        let whole = self.explainer.catalog();
        let mut reached: Vec<&str> = Vec::new();
        for uri in uris() {
            let said = self.ask(Method::ResourcesRead, json!({ "uri": uri })).await;
            let explained =
                self.explainer.explain(&self.caller, Scopes::Known, Thing::Resource(&uri), b"").verdict;
            if let Said::Failed(..) = &said {
                assert!(!explained.is_listed(), "{uri}: {explained:?}");
                let nowhere: String = uri.chars().map(|_| 'q').collect();
                let unknown = self.ask(Method::ResourcesRead, json!({ "uri": nowhere })).await;
                assert_eq!(
                    said.without(&uri),
                    unknown.without(&nowhere),
                    "`{uri}` can be told from one that is not"
                );
                continue;
            }
            assert_eq!(explained, self.verdict_of(&said, Thing::Resource(&uri)), "{uri}");
            // Of other spellings it is enough that they answer as theirs does.
            if uri.contains('%') || uri.starts_with('X') || !uri.is_ascii() {
                continue;
            }
            let of = |template: &&str| {
                whole.template(template).is_some()
                    && UriTemplate::parse(template).unwrap().matches(&uri).is_some()
            };
            let Some(template) = TEMPLATES.into_iter().find(of) else {
                assert!(resources.contains(&uri), "{uri} is of nothing");
                continue;
            };
            assert!(listed.iter().any(|one| one == template), "{uri} of no listed template");
            reached.push(template);
        }
        for template in &listed {
            assert!(reached.contains(&&**template), "{template} is listed, and nothing of it was read");
        }
    }

    async fn check_completions(&self, prompts: &[String]) {
        let argument = json!({ "name": "word", "value": "x" });
        for name in PROMPTS {
            let complete = async |name: &str| {
                let reference = json!({ "type": "ref/prompt", "name": name });
                self.ask(Method::CompletionComplete, json!({ "ref": reference, "argument": argument })).await
            };
            let said = complete(name).await;
            let is_known = !matches!(said, Said::Failed(..));
            assert_eq!(is_known, prompts.iter().any(|one| one == name), "{name} {said:?}");
            if !is_known {
                assert_eq!(said, complete("qqqq").await, "{name}");
            }
        }
        let listed = self.world.list(&self.caller, Method::ResourcesTemplatesList, "uriTemplate").await;
        for uri in TEMPLATES {
            let complete = async |uri: &str| {
                let reference = json!({ "type": "ref/resource", "uri": uri });
                self.ask(Method::CompletionComplete, json!({ "ref": reference, "argument": argument })).await
            };
            let said = complete(uri).await;
            let is_known = !matches!(said, Said::Failed(..));
            assert_eq!(is_known, listed.iter().any(|one| one == uri), "{uri} {said:?}");
            if !is_known {
                assert_eq!(said, complete("q://{q}").await, "{uri}");
            }
        }
    }

    async fn check_subscriptions(&self) {
        let wanted = uris();
        let mut readable = Vec::new();
        for uri in wanted.iter().take(250) {
            if self.ask(Method::ResourcesRead, json!({ "uri": uri })).await == Said::Ran {
                readable.push(uri.clone());
            }
        }
        let filter = json!({ "resourceSubscriptions": wanted.iter().take(250).collect::<Vec<_>>() });
        let (request, mut events, closing) =
            streamed(&self.caller, Method::SubscriptionsListen, json!({ "notifications": filter }));
        closing.cancel();
        self.world.guard.call(request).await.unwrap();
        let Some(Event::Message(message)) = events.recv().await else { panic!("nothing agreed") };
        let message: Value = serde_json::from_slice(&message).unwrap();
        let agreed = message["params"]["notifications"]["resourceSubscriptions"].as_array();
        let mut agreed: Vec<&str> = agreed.into_iter().flatten().filter_map(Value::as_str).collect();
        agreed.sort_unstable();
        readable.sort();
        readable.dedup();
        assert_eq!(agreed, readable);
    }

    async fn check_capabilities(&self, tools: &[String], prompts: &[String]) {
        let reply = self.world.ask(&self.caller, Method::ServerDiscover, json!({})).await.unwrap();
        let members = [b"{", reply.members(), b"}"].concat();
        let discovered: Value = serde_json::from_slice(&members).unwrap();
        let capabilities = &discovered["capabilities"];
        let resources = self.world.list(&self.caller, Method::ResourcesList, "uri").await;
        let templates = self.world.list(&self.caller, Method::ResourcesTemplatesList, "uriTemplate").await;
        let has_resources = !(resources.is_empty() && templates.is_empty());
        assert_eq!(capabilities.get("prompts").is_some(), !prompts.is_empty());
        assert_eq!(capabilities.get("resources").is_some(), has_resources);
        assert_eq!(
            capabilities.get("tools").is_some(),
            !tools.is_empty() || (prompts.is_empty() && !has_resources)
        );
        assert_eq!(capabilities.get("completions").is_some(), !(prompts.is_empty() && templates.is_empty()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_listed_is_exactly_what_may_be_called_or_is_asked_for_more(case in case()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let policy = policy(&case.policy);
        let world = World::new(Arc::clone(&policy), parts(&case.chosen));
        let caller = world.caller(case.claims.clone(), &case.scopes);
        let explainer = Explainer::new(policy, catalog(parts(&case.chosen)));
        let trial = Trial { world, explainer, caller, arguments: case.arguments.clone() };
        runtime.block_on(trial.check());
    }
}
