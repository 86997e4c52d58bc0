//! What the file may say of caches, and what it is told when it says something else.

use super::*;

fn read(text: &str) -> CacheFile {
    #[derive(Deserialize)]
    struct File {
        cache: CacheFile,
    }
    toml::from_str::<File>(&format!("cache = {text}")).unwrap().cache
}

fn subject(bindings: &[String]) -> Subject<'_> {
    Subject {
        path: &["tools", "search"],
        what: "tool `search`",
        read_only: true,
        inherited: false,
        bindings,
        guarded: true,
    }
}

fn told(text: &str, subject: &Subject<'_>) -> Vec<String> {
    let (_, problems) = read(text).resolve(subject);
    problems.into_iter().map(|problem| format!("{}: {}", problem.path.join("."), problem.message)).collect()
}

#[test]
fn a_table_says_how_long_and_for_whom() {
    let text = r#"{ ttl = "5m", stale = "1m", scope = "role", tags = ["b", "a", "b"], warm = [{ query = "smith" }] }"#;
    let (plan, problems) = read(text).resolve(&subject(&[]));
    assert_eq!(problems, []);
    let plan = plan.unwrap();
    assert_eq!((plan.ttl.as_secs(), plan.stale.as_secs(), plan.scope), (300, 60, Scope::Role));
    assert_eq!(plan.tags, ["a".into(), "b".into()]);
    assert_eq!(plan.warm[0]["query"], "smith");
    let (plan, _) = read(r#"{ ttl = "1s" }"#).resolve(&subject(&[]));
    assert_eq!(plan.map(|plan| (plan.scope, plan.stale)), Some((Scope::Caller, Duration::ZERO)));
    assert_eq!(read("false").resolve(&subject(&[])), (None, Vec::new()));
}

#[test]
fn what_cannot_be_kept_is_told() {
    let bound = ["parameter `region` is computed from the caller".to_owned()];
    assert_eq!(told("{}", &subject(&[])).len(), 1);
    assert!(told(r#"{ ttl = "2d" }"#, &subject(&[]))[0].starts_with("tools.search.cache.ttl: "));
    assert!(told(r#"{ ttl = "1m", stale = "2d" }"#, &subject(&[]))[0].contains("cache.stale"));
    let public = told(r#"{ ttl = "1m", scope = "public" }"#, &subject(&bound));
    assert!(public[0].contains("cache.scope") && public[0].contains("`region`"), "{public:?}");
    assert!(told(r#"{ ttl = "1m", scope = "role" }"#, &subject(&bound)).is_empty());
    assert!(told(r#"{ ttl = "1m", tags = ["no tag"] }"#, &subject(&[]))[0].contains("`no tag` is no tag"));
    let writes = Subject { read_only: false, ..subject(&[]) };
    assert!(told(r#"{ ttl = "1m" }"#, &writes)[0].contains("writes"));
    assert!(told(r#"{ ttl = "1m" }"#, &Subject { inherited: true, ..writes }).is_empty());
}

#[test]
fn a_warm_call_must_be_one_whose_answer_somebody_else_may_have() {
    let bound = ["parameter `region` is computed from the caller".to_owned()];
    let warm = |scope: &str| format!(r#"{{ ttl = "1m", scope = "{scope}", warm = [{{ a = 1 }}] }}"#);
    assert!(told(&warm("caller"), &subject(&[]))[0].contains("each caller"));
    assert!(told(&warm("caller"), &Subject { guarded: false, ..subject(&[]) }).is_empty());
    assert!(told(&warm("role"), &subject(&[])).is_empty());
    assert!(told(&warm("role"), &subject(&bound))[0].contains("before one asks"));
    assert!(told(&warm("role"), &Subject { inherited: true, ..subject(&[]) })[0].contains("one tool"));
}

#[test]
fn only_a_tool_that_writes_invalidates() {
    let tags = ["a".to_owned(), "c".to_owned(), "a".to_owned()];
    let writes = Subject { read_only: false, ..subject(&[]) };
    let (decided, problems) = resolve_invalidates(&tags, &writes);
    assert_eq!((decided.len(), problems.len()), (2, 0));
    assert_eq!(resolve_invalidates(&tags, &subject(&[])).1.len(), 1);
    let known = ["a".into(), "customers".into()];
    assert_eq!(unknown_tags(&["tools", "t"], &["a".into()], &known), []);
    let unknown = unknown_tags(&["tools", "t"], &["custmers".into()], &known);
    assert_eq!(unknown[0].help.as_deref(), Some("did you mean `customers`?"));
}

#[test]
fn what_is_written_wrongly_is_told_with_what_is_allowed() {
    let error = |text: &str| toml::from_str::<CacheTable>(text).unwrap_err().to_string();
    assert!(error("scope = \"everyone\"").contains("public"));
    assert!(error("tll = \"5m\"").contains("ttl"));
    let error = toml::from_str::<std::collections::BTreeMap<String, CacheFile>>("cache = true").unwrap_err();
    assert!(error.message().contains("or false"), "{error}");
}
