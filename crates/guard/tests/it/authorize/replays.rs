//! A recorded day under another policy.

use std::sync::Arc;

use serde_json::{Value, json};
use trunkline_guard::authorize::{Explainer, Replay, Replayed, Verdict};
use trunkline_guard::record::read::{Entry, Lines};
use trunkline_service::catalog::Parts;

use super::world::{catalog, policy, schema, tool};

const POLICY: &str = r#"
scopes.files = ["files:read"]
[roles.support]
match = { claim = "groups", has = "support" }
allow = ["tools:search_orders", "tools:refund"]
when.small = "args.amount < 100 || true"
[roles.eu]
match = { claim = "region", equals = "eu" }
allow = ["tools:files"]
"#;

fn parts() -> Parts {
    let taken = || schema(&[("amount", "number")]);
    Parts {
        tools: vec![tool("search_orders", taken()), tool("refund", taken()), tool("files", taken())],
        ..Parts::default()
    }
}

fn entry(more: Value) -> Entry {
    let mut line = json!({
        "seq": 1, "node": "n", "kind": "call", "at": "2026-11-26T05:00:00.000Z",
        "caller": { "issuer": "https://a.example", "subject": "ann", "by": "token", "section": "company" },
        "method": "tools/call", "outcome": "ok", "mac": "00",
    });
    for (name, value) in more.as_object().unwrap() {
        line[name] = value.clone();
    }
    Lines::new(format!("{line}\n").as_bytes()).next().unwrap().unwrap()
}

/// Decides one line of a record that shows the claims `groups` and, if `region` is, that one too.
fn decide(policy_text: &str, shown: &[&str], more: Value) -> Replayed {
    let explainer = Explainer::new(policy(policy_text), catalog(parts()));
    let mut replay = Replay::new(&explainer);
    for claim in shown {
        replay.see(&entry(json!({ "evidence": { *claim: ["x"] } })));
    }
    let entry = entry(more);
    replay.see(&entry);
    replay.decide(&entry)
}

fn small(text: &str) -> String {
    let policy = policy(text);
    let explainer = Explainer::new(Arc::clone(&policy), catalog(parts()));
    let caller = policy.assigned(trunkline_service::Caller {
        claims: json!({ "groups": ["support"] }).as_object().unwrap().clone(),
        ..Default::default()
    });
    let explained = explainer.explain(
        &caller,
        trunkline_guard::authorize::Scopes::Known,
        trunkline_guard::authorize::Thing::Tool("refund"),
        b"{}",
    );
    explained.roles[0].conditions[0].id.clone()
}

#[test]
fn what_comes_out_as_before_is_the_same_and_what_does_not_is_told_with_its_rules() {
    let id = small(POLICY);
    let call = json!({
        "tool": "refund", "roles": ["support"], "evidence": { "groups": ["support"] }, "allowed": true,
        "rule": "roles.support.allow[1]", "conditions": { id.as_str(): true },
    });
    let shown = ["groups", "region"];
    assert_eq!(decide(POLICY, &shown, call.clone()), Replayed::Same);
    let narrower = POLICY.replace(", \"tools:refund\"", "");
    let Replayed::Differs { before, after, rule_before, .. } = decide(&narrower, &shown, call.clone()) else {
        panic!("the same")
    };
    assert_eq!(
        (before, after, &*rule_before),
        (Verdict::Allowed, Verdict::Unlisted, "roles.support.allow[1]")
    );
    let denied = format!(
        "{POLICY}\n[roles.no]\nmatch = {{ claim = \"groups\", has = \"support\" }}\ndeny = [\"tools:ref*\"]"
    );
    let Replayed::Differs { after, rule_after, .. } = decide(&denied, &shown, call.clone()) else {
        panic!("the same")
    };
    assert_eq!((after, &*rule_after), (Verdict::Unlisted, "roles.no.deny[0]"));
    let refused = json!({ "conditions": { id.as_str(): false }, "allowed": false });
    let mut call = call;
    for (name, value) in refused.as_object().unwrap() {
        call[name] = value.clone();
    }
    assert_eq!(decide(POLICY, &shown, call), Replayed::Same);
}

#[test]
fn a_changed_condition_leaves_a_call_undecided_and_so_does_a_claim_that_was_never_shown() {
    let id = small(POLICY);
    let call = json!({
        "tool": "refund", "roles": ["support"], "evidence": { "groups": ["support"] }, "allowed": true,
        "rule": "roles.support.allow[1]", "conditions": { id.as_str(): true },
    });
    let changed = POLICY.replace("< 100", "< 50");
    let Replayed::Undecided { before, why } = decide(&changed, &["groups", "region"], call.clone()) else {
        panic!("decided")
    };
    assert!(before == Verdict::Allowed && why.contains("roles.support.when.small@"), "{why}");
    // One that only looks at the caller can be asked again.
    let by_caller = POLICY.replace("args.amount < 100 || true", "caller.subject == 'bob'");
    assert!(matches!(
        decide(&by_caller, &["groups", "region"], call),
        Replayed::Differs { after: Verdict::Refused, .. }
    ));
    let files = json!({ "tool": "files", "evidence": { "groups": ["x"] }, "scopes": ["files:read"], "allowed": false });
    let Replayed::Undecided { why, .. } = decide(POLICY, &["groups"], files.clone()) else {
        panic!("decided")
    };
    assert!(why.contains("`region`"), "{why}");
    assert_eq!(
        decide(POLICY, &["groups", "region"], files),
        Replayed::Same,
        "the record shows regions, and not this one's"
    );
    let cut = json!({ "tool": "files", "cut": ["evidence"], "allowed": false });
    assert!(matches!(decide(POLICY, &["groups", "region"], cut), Replayed::Undecided { .. }));
}

#[test]
fn scopes_keys_and_the_local_user_are_decided_by_what_the_record_says_of_them() {
    let shown = ["groups", "region"];
    let eu = json!({ "region": "eu" });
    let lacking = json!({ "tool": "files", "evidence": eu, "roles": ["eu"], "allowed": false, "missing": ["files:read"] });
    assert_eq!(decide(POLICY, &shown, lacking), Replayed::Same);
    let more = POLICY.replace("[\"files:read\"]", "[\"files:read\", \"files:write\"]");
    let held = json!({ "tool": "files", "evidence": eu, "roles": ["eu"], "scopes": ["files:read"], "allowed": true });
    assert!(matches!(decide(&more, &shown, held), Replayed::Differs { after: Verdict::Challenged, .. }));
    let key = json!({
        "tool": "files", "caller": { "subject": "ci", "by": "key", "key": "k1", "name": "ci" }, "roles": ["eu"],
        "scopes": ["files:read"], "allowed": true,
    });
    assert_eq!(decide(POLICY, &shown, key), Replayed::Same);
    let local = json!({ "tool": "files", "caller": { "subject": "local", "by": "local" }, "allowed": true });
    assert!(matches!(decide(POLICY, &shown, local), Replayed::Differs { after: Verdict::Unlisted, .. }));
    let unknown = json!({ "tool": "gone", "outcome": "invalid-params" });
    assert_eq!(decide(POLICY, &shown, unknown), Replayed::Same);
    for nothing in [
        json!({ "kind": "start" }),
        json!({ "method": "tools/list" }),
        json!({ "tool": "a", "outcome": "ended" }),
    ] {
        assert_eq!(decide(POLICY, &shown, nothing), Replayed::NoDecision);
    }
}
