//! Calls of tools: what roles allow and deny, scopes, and conditions.

use std::sync::Arc;

use serde_json::json;
use trunkline_protocol::Method;
use trunkline_service::catalog::Parts;
use trunkline_service::{Caller, Notes, Service as _};

use super::world::{Said, World, policy, request, schema, tool};

fn shop() -> Parts {
    let none = || schema(&[]);
    let tools = vec![
        tool("search_orders", none()),
        tool("search_people", none()),
        tool("refund", schema(&[("amount", "number"), ("region", "string")])),
        tool("files", none()),
    ];
    Parts { tools, ..Parts::default() }
}

const ROLES: &str = r#"
[roles.support]
match = { claim = "groups", has = "support" }
allow = ["tools:search_*"]

[roles.finance]
match = [{ claim = "groups", has = "finance" }, { scope = "money" }]
allow = ["tools:refund", "tools:search_orders"]
deny = ["tools:search_people"]

[roles.machine]
allow = ["tools:files"]

[roles.me]
match = { local = true }
allow = ["tools:*"]
"#;

#[tokio::test]
async fn what_is_listed_is_what_roles_allow_and_deny_wins() {
    let world = World::new(policy(ROLES), shop());
    let tools = async |caller: &Arc<Caller>| world.tools(caller).await;
    let nobody = world.caller(json!({ "groups": ["sales"] }), &[]);
    assert_eq!(tools(&nobody).await, [""; 0]);
    let support = world.caller(json!({ "groups": ["support"] }), &[]);
    assert_eq!(tools(&support).await, ["search_orders", "search_people"]);
    let both = world.caller(json!({ "groups": ["finance", "support"] }), &[]);
    assert_eq!(&*both.roles.concat(), "financesupport");
    assert_eq!(tools(&both).await, ["search_orders", "refund"]);
    let by_scope = world.caller(json!({}), &["money"]);
    assert_eq!(tools(&by_scope).await, ["search_orders", "refund"]);
    let key = world.key("robot", &["machine", "gone"], &[]);
    assert_eq!(tools(&key).await, ["files"]);
    assert_eq!(tools(&Caller::local()).await, ["search_orders", "search_people", "refund", "files"]);
    // What a token calls its roles is nothing.
    let liar = world.policy.assigned(Caller { roles: vec!["machine".into()], ..(*nobody).clone() });
    assert_eq!(liar.roles, [] as [Box<str>; 0]);
}

#[tokio::test]
async fn an_unlisted_tool_answers_as_an_unknown_one() {
    let world = World::new(policy(ROLES), shop());
    let support = world.caller(json!({ "groups": ["support"] }), &[]);
    assert_eq!(world.call(&support, "search_people", json!({})).await, Said::Ran);
    let denied = world.call(&support, "refund", json!({ "amount": "wrong" })).await;
    let unknown = world.call(&support, "refuse", json!({ "amount": "wrong" })).await;
    assert_eq!(denied.without("refund"), unknown.without("refuse"));
}

#[tokio::test]
async fn no_roles_at_all_leave_everything_to_everybody() {
    let world = World::new(policy(""), shop());
    let caller = world.caller(json!({}), &[]);
    assert_eq!(world.tools(&caller).await.len(), 4);
    assert_eq!(world.call(&caller, "files", json!({})).await, Said::Ran);
}

#[tokio::test]
async fn au_06_missing_scopes_are_asked_for_all_at_once() {
    let text = r#"
    scopes.files = ["files:read", "files:write"]
    implied.files = ["files:read", "files:write"]
    "#;
    for roles in
        ["", ROLES, "[roles.all]\nmatch = { claim = \"sub\", equals = \"ann\" }\nallow = [\"tools:*\"]"]
    {
        let world = World::new(policy(&format!("{text}\n{roles}")), shop());
        let caller = |scopes: &[&str]| match roles == ROLES {
            true => world.key("robot", &["machine"], scopes),
            false => world.caller(json!({ "sub": "ann" }), scopes),
        };
        let all = Said::Challenged(vec!["files:read".into(), "files:write".into()]);
        assert!(world.tools(&caller(&[])).await.contains(&"files".to_owned()), "listed all the same");
        assert_eq!(world.call(&caller(&[]), "files", json!({})).await, all);
        assert_eq!(world.call(&caller(&["files:read"]), "files", json!({})).await, all);
        assert_eq!(world.call(&caller(&["files:read", "files:write"]), "files", json!({})).await, Said::Ran);
        assert_eq!(world.call(&caller(&["files"]), "files", json!({})).await, Said::Ran);
        assert_eq!(world.call(&caller(&["FILES"]), "files", json!({})).await, all);
    }
    let world = World::new(policy(&format!("{text}\n{ROLES}")), shop());
    assert_eq!(world.call(&Caller::local(), "files", json!({})).await, Said::Ran, "local holds every scope");
}

#[tokio::test]
async fn conditions_decide_by_arguments_and_caller() {
    let roles = r#"
    [roles.small]
    match = { claim = "groups", has = "support" }
    allow = ["tools:refund"]
    when.small = "args.amount < 100"
    when.mine = "args.region == caller.claims.region"
    message = "up to 100 in your own region"

    [roles.boss]
    match = { claim = "groups", has = "boss" }
    allow = ["tools:refund"]
    when = "args.amount < 10000"
    "#;
    let world = World::new(policy(roles), shop());
    let ann = world.caller(json!({ "groups": ["support"], "region": "eu" }), &[]);
    let refused = Said::Refused("up to 100 in your own region".into());
    for (arguments, said) in [
        (json!({ "amount": 99, "region": "eu" }), Said::Ran),
        (json!({ "amount": "99", "region": "eu" }), Said::Ran),
        (json!({ "amount": 100, "region": "eu" }), refused.clone()),
        (json!({ "amount": 1e2, "region": "eu" }), refused.clone()),
        (json!({ "amount": 99, "region": "us" }), refused.clone()),
        (json!({ "amount": 99 }), refused.clone()),
        (json!({ "region": "eu" }), refused.clone()),
        (json!({ "amount": null, "region": "eu" }), refused.clone()),
    ] {
        assert_eq!(world.call(&ann, "refund", arguments.clone()).await, said, "{arguments}");
    }
    let Said::Refused(text) = world.call(&ann, "refund", json!({ "amount": "9 9", "region": "eu" })).await
    else {
        panic!("not refused")
    };
    assert!(text.contains("`amount`") && !text.contains("9 9"), "{text}");
    let both = world.caller(json!({ "groups": ["support", "boss"], "region": "eu" }), &[]);
    assert_eq!(world.call(&both, "refund", json!({ "amount": 500 })).await, Said::Ran);
    let boss = world.caller(json!({ "groups": ["boss"] }), &[]);
    let Said::Refused(text) = world.call(&boss, "refund", json!({ "amount": 10000 })).await else {
        panic!("ran")
    };
    assert!(text.contains("`roles.boss.allow[0]`"), "{text}");
    let nowhere = world.caller(json!({ "groups": ["support"] }), &[]);
    assert_eq!(
        world.call(&nowhere, "refund", json!({ "amount": 1, "region": "eu" })).await,
        refused,
        "without the claim"
    );
}

#[tokio::test]
async fn what_was_decided_is_noted_with_its_rule_and_conditions() {
    let roles = r#"
    scopes.files = ["a", "b"]
    [roles.one]
    match = { claim = "groups", has = "one" }
    allow = ["tools:search_orders", "tools:refund", "tools:files"]
    deny = ["tools:nothing", "tools:search_people"]
    when.small = "args.amount < 100"
    [roles.two]
    match = { claim = "groups", has = "two" }
    allow = ["tools:search_orders"]
    "#;
    let text = roles.replace(
        "allow = [\"tools:search_orders\", \"tools:refund\", \"tools:files\"]",
        "allow = [\"tools:refund\", \"tools:files\"]",
    );
    let world = World::new(policy(&text), shop());
    let caller = world.caller(json!({ "groups": ["one", "two"] }), &["a"]);
    let decide = async |tool: &str, arguments: serde_json::Value| {
        let notes = Arc::new(Notes::default());
        let mut request =
            request(&caller, Method::ToolsCall, json!({ "name": tool, "arguments": arguments }));
        request.note_on(Arc::clone(&notes));
        let _ = world.guard.call(request).await;
        notes.take()
    };
    let decided = decide("search_orders", json!({})).await;
    assert_eq!((decided.allowed, &*decided.rule), (Some(true), "roles.two.allow[0]"));
    let decided = decide("refund", json!({ "amount": 1 })).await;
    assert_eq!((decided.allowed, &*decided.rule), (Some(true), "roles.one.allow[0]"));
    let [(name, Some(true))] = &decided.conditions[..] else { panic!("{decided:?}") };
    assert!(name.starts_with("roles.one.when.small@"), "{name}");
    let decided = decide("refund", json!({ "amount": 100 })).await;
    assert_eq!((decided.allowed, &*decided.rule), (Some(false), "roles.one.allow[0]"));
    assert_eq!(decided.conditions[0].1, Some(false));
    let decided = decide("refund", json!({ "amount": "?" })).await;
    assert_eq!((decided.allowed, decided.conditions[0].1), (Some(false), None));
    let decided = decide("files", json!({})).await;
    assert_eq!((decided.allowed, &decided.missing_scopes[..]), (Some(false), &["b".into()][..]));
    let decided = decide("search_people", json!({})).await;
    assert_eq!((decided.allowed, &*decided.rule), (Some(false), "roles.one.deny[1]"));
    assert_eq!(decide("no_such_tool", json!({})).await.allowed, None);
    assert_eq!(&*caller.evidence, r#"{"groups":["one","two"]}"#);
}
