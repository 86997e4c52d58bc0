//! What is wrong with roles, told with its place.

use serde_json::json;
use trunkline_guard::authorize::Surroundings;
use trunkline_service::catalog::Parts;
use trunkline_service::file::{Problem, Severity};

use super::world::{catalog, prompt, read, read_around, resource, schema, template, tool};

fn parts() -> Parts {
    let hidden = json!({
        "type": "object",
        "properties": { "amount": { "type": "number" }, "region": { "type": "string" }, "tags": { "type": "array", "items": { "type": "string" } } },
    });
    Parts {
        tools: vec![tool("refund", hidden), tool("search_orders", schema(&[("q", "string")]))],
        prompts: vec![prompt("brief", &["topic"])],
        resources: vec![resource("x://a"), resource("no-scheme")],
        templates: vec![template("x://t/{id}")],
    }
}

fn problems(text: &str) -> Vec<Problem> {
    let (policy, problems) = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    let mut found = policy.problems(&catalog(parts()));
    found.retain(|problem| !problem.message.contains("no-scheme"));
    found
}

#[test]
fn a_condition_that_does_not_fit_is_told_with_its_byte_and_for_what() {
    let mut wrong: Vec<String> = Vec::new();
    for (allow, when, offset, told) in [
        ("tools:refund", "args.amont < 5", 4, "tool `refund`: there is no argument `amont`"),
        ("tools:refund", "args.region < 5", 12, "`<` does not fit"),
        ("tools:refund", "1 < 2 && args.hidden == 1", 13, "no argument `hidden`"),
        ("tools:refund", "args.amount", 4, "a bool is wanted"),
        ("tools:refund", "args.amount <", 13, "end of the expression"),
        ("tools:refund", "'a' in args.tags && args.tags[0] == 5", 33, "does not fit"),
        ("tools:*", "args.q == 'x'", 4, "tool `refund`: there is no argument `q`"),
        ("prompts:brief", "args.topic == 5", 11, "prompt `brief`"),
        ("resources:x://*", "args.topic == ''", 4, "takes no arguments"),
        ("tools:none_yet", "args.x == ", 10, "end of the expression"),
    ] {
        let text = format!("[roles.r]\nallow = [\"{allow}\"]\nwhen = \"{when}\"\n");
        let found = problems(&text);
        let problem = found.iter().find(|problem| problem.path == ["roles", "r", "when"]).expect(when);
        assert!(problem.message.contains(told), "{when}: {}", problem.message);
        wrong.extend((problem.offset != Some(offset)).then(|| format!("{when}: {:?}", problem.offset)));
        assert_eq!(problem.severity, Severity::Wrong);
    }
    assert_eq!(wrong, [""; 0]);
    let fits = "[roles.r]\nallow = [\"tools:refund\"]\ndeny = [\"tools:search_*\"]\nwhen.a = \"args.amount < 5 && 'x' in args.tags\"\nwhen.b = \"caller.subject != ''\"\n";
    assert_eq!(problems(fits), []);
}

#[test]
fn a_pattern_that_fits_nothing_is_a_warning_with_the_nearest_name() {
    let text = "[roles.r]\nallow = [\"tools:serach_*\", \"tools:*\", \"resources:x://t/7\", \"resources:y://*\", \"prompts:breif\"]\ndeny = [\"tools:refunds\"]\n";
    let found = problems(text);
    let told: Vec<(String, Option<&str>)> =
        found.iter().map(|problem| (problem.path.join("."), problem.help.as_deref())).collect();
    assert!(found.iter().all(|problem| problem.severity == Severity::Warning));
    let [search, other, brief, refunds] = &told[..] else { panic!("{told:?}") };
    assert_eq!(search, &("roles.r.allow.0".into(), Some("did you mean `tools:search_orders`?")));
    assert_eq!(other.0, "roles.r.allow.3");
    assert_eq!(brief, &("roles.r.allow.4".into(), Some("did you mean `prompts:brief`?")));
    assert_eq!(refunds, &("roles.r.deny.0".into(), Some("did you mean `tools:refund`?")));
}

#[test]
fn whoever_is_meant_must_be_said_clearly() {
    let problem = |text: &str, issuers: &[&str]| {
        let text = format!("[roles.r]\nmatch = {text}\n");
        let (_, mut problems) = read_around(&text, Surroundings { issuers, auth: true, keys: true });
        assert!(problems.len() <= 1, "{problems:?}");
        problems.pop().map(|problem| (problem.path.join("."), problem.message))
    };
    let one = ["https://a.example"];
    let two = ["https://a.example", "https://b.example"];
    for good in [
        "{ claim = \"groups\", has = \"a\" }",
        "{ claim = \"level\", equals = 3 }",
        "{ scope = \"a:b\" }",
        "{ key = \"ci\" }",
        "{ local = true }",
        "[{ scope = \"a\" }, { claim = \"x\", has = true, issuer = \"https://a.example\" }]",
    ] {
        assert_eq!(problem(good, &one), None, "{good}");
    }
    for (bad, key) in [
        ("{}", "roles.r.match"),
        ("{ claim = \"a\" }", "roles.r.match.claim"),
        ("{ claim = \"a\", has = \"b\", equals = \"c\" }", "roles.r.match.equals"),
        ("{ claim = \"\", has = \"b\" }", "roles.r.match.claim"),
        ("{ scope = \"a\", has = \"b\" }", "roles.r.match.has"),
        ("{ scope = \"a b\" }", "roles.r.match.scope"),
        ("{ scope = \"a\", key = \"b\" }", "roles.r.match"),
        ("{ local = false }", "roles.r.match.local"),
        ("{ key = \"a\", issuer = \"https://a.example\" }", "roles.r.match.issuer"),
        ("{ spiffe = \"spiffe://a\" }", "roles.r.match.spiffe"),
        ("{ subject = \"CN=a\" }", "roles.r.match.subject"),
        ("{ scope = \"a\", issuer = \"https://a.example/\" }", "roles.r.match.issuer"),
        ("[{ scope = \"a\" }, { scope = \"\" }]", "roles.r.match.1.scope"),
    ] {
        let (path, message) = problem(bad, &one).expect(bad);
        assert_eq!(path, key, "{bad}: {message}");
    }
    let (path, message) = problem("{ claim = \"groups\", has = \"a\" }", &two).unwrap();
    assert!(path == "roles.r.match" && message.contains("2 issuers"), "{message}");
    assert_eq!(problem("{ claim = \"groups\", has = \"a\", issuer = \"https://b.example\" }", &two), None);
}

#[test]
fn a_role_is_decided_whole_and_everything_wrong_is_told_at_once() {
    let text = r#"
    [roles."a b"]
    allow = ["search", "tools:a", "tools:a b"]
    message = "never"
    [roles.b]
    when = {}
    message = ""
    [scopes]
    files = ["a b"]
    [implied]
    "x y" = ["z"]
    "#;
    let (_, problems) = read(text);
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    for wanted in [
        "auth.scopes.x y",
        "tools.files.scopes.0",
        "roles.a b",
        "roles.a b.allow.0",
        "roles.a b.allow.2",
        "roles.a b.message",
        "roles.b.when",
        "roles.b.message",
    ] {
        assert!(paths.iter().any(|path| path == wanted), "{wanted} in {paths:?}");
    }
}

#[test]
fn without_auth_what_only_tokens_have_is_a_warning() {
    let text = "[roles.r]\nmatch = { claim = \"groups\", has = \"a\" }\n[roles.k]\nmatch = { key = \"ci\" }\n[roles.l]\nmatch = { local = true }\n";
    let (_, problems) = read_around(text, Surroundings::default());
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.severity == Severity::Warning));
}
