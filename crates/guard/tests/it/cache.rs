//! What is kept of reads, behind the guard that decides who may read what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use trunkline_guard::cache::{Cache, DEFAULT_SIZE, Origin, Plan, Reads, Scope};
use trunkline_protocol::Method;
use trunkline_service::catalog::{Parts, Served};
use trunkline_service::{Answer, Caller, Reply, Request, Service, TemplateDefinition, ready};

use crate::authorize::world::{World, policy};

/// Answers with the number of times it was asked, and the URI it was asked for.
#[derive(Debug, Default)]
struct Shelf(AtomicU64);

impl Service for Shelf {
    fn call(&self, request: Request) -> Answer<'_> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        ready(Ok(Reply::text(&format!("{number} {}", request.uri().unwrap()))))
    }
}

const ROLES: &str = r#"
[roles.reader]
match = { claim = "groups", has = "reader" }
allow = ["resources:shelf://*"]
deny = ["resources:shelf://secret/*"]
[roles.admin]
match = { claim = "groups", has = "admin" }
allow = ["resources:*"]
"#;

#[tokio::test]
async fn a_uri_in_another_spelling_is_the_same_read_and_what_is_kept_is_given_to_nobody_who_may_not_read_it()
{
    let cache = Cache::new(DEFAULT_SIZE);
    let definition = TemplateDefinition {
        uri_template: "shelf://{room}/{book}".into(),
        name: "shelf".into(),
        ..TemplateDefinition::default()
    };
    let mut served = Served::new(definition, Arc::<Shelf>::default() as _, 0);
    let plan = Plan {
        ttl: std::time::Duration::from_secs(600),
        stale: std::time::Duration::ZERO,
        scope: Scope::Public,
        tags: Vec::new(),
        warm: Vec::new(),
    };
    let origin = Origin { connector: "shelf", configuration: b"", lag: std::time::Duration::ZERO };
    let reads = Reads { definition: b"shelf", binding: None, open: false };
    assert!(cache.keep_reads(&mut served, "shelf://{room}/{book}", &origin, &plan, &reads));
    let world = World::new(policy(ROLES), Parts { templates: vec![served], ..Parts::default() });
    let of = |group: &str| world.caller(json!({ "groups": [group] }), &[]);
    let (reader, admin) = (of("reader"), of("admin"));
    let read = async |caller: &Arc<Caller>, uri: &str| {
        let reply = world.ask(caller, Method::ResourcesRead, json!({ "uri": uri })).await;
        reply.map(|reply| {
            let meta = String::from_utf8_lossy(reply.meta()).into_owned();
            (String::from_utf8_lossy(reply.members()).into_owned(), meta.contains("\"hit\""))
        })
    };
    let (first, was_kept) = read(&admin, "shelf://open/ulysses").await.unwrap();
    assert!(first.contains("1 shelf://open/ulysses") && !was_kept, "{first}");
    for spelling in ["shelf://open/ulysses", "SHELF://open/ulysses", "shelf://%6Fpen/ul%79sses"] {
        assert_eq!(read(&reader, spelling).await.unwrap(), (first.clone(), true), "{spelling}");
    }
    // Those are others.
    for (uri, number) in
        [("shelf://open/Ulysses", 2), ("shelf://Open/ulysses", 3), ("shelf://open/ul%2Fysses", 4)]
    {
        let (text, was_kept) = read(&reader, uri).await.unwrap();
        assert!(text.contains(&format!("{number} {uri}")) && !was_kept, "{text}");
    }
    // What was kept for one is there for nobody who may not read it, however it is written.
    assert!(read(&admin, "shelf://secret/diary").await.is_ok());
    assert!(read(&admin, "shelf://secret/diary").await.unwrap().1);
    for spelling in ["shelf://secret/diary", "Shelf://secret/diary", "shelf://%73ecret/diary"] {
        assert!(read(&reader, spelling).await.is_err(), "{spelling}");
    }
}
