//! What is kept of resources: whose reads are shared, how long, and what is said of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use trunkline_protocol::{Revision, scan};
use trunkline_service::{
    Answer, CacheScope, Caller, Failure, FailureKind, Hints, Reply, Request, TemplateDefinition,
};

use super::*;

/// A family of resources that tells, of each read, how often it was asked, for whom, and for what.
#[derive(Default)]
struct Library {
    asked: AtomicU64,
    hints: Option<Hints>,
    is_down: bool,
}

impl Service for Library {
    fn call(&self, request: Request) -> Answer<'_> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_down {
            return trunkline_service::ready(Err(Failure::new(FailureKind::UpstreamUnavailable, "down")));
        }
        let (uri, region) = (request.uri().unwrap().into_owned(), region(request.caller()));
        let text = json!({ "number": number, "subject": request.caller().subject, "region": region });
        let contents = json!([{ "uri": uri, "text": text.to_string() }]);
        let reply = Reply::from_members(format!(r#""contents":{contents}"#).into_bytes());
        let reply = reply.with_meta(br#""own":1"#.to_vec());
        trunkline_service::ready(Ok(match self.hints {
            Some(hints) => reply.with_hints(hints),
            None => reply,
        }))
    }
}

fn region(caller: &Caller) -> Option<&str> {
    caller.claims.get("region").and_then(Value::as_str)
}

/// What the library's answers depend on, where they do: a claim.
#[derive(Debug)]
struct Region;

impl Binding for Region {
    fn write(&self, request: &Request, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(region(request.caller()).unwrap_or_default().as_bytes());
        region(request.caller()).is_some()
    }
}

const NAME: &str = "r://{+path}";

fn kept_reads(cache: &Arc<Cache>, library: Library, plan: &Plan, reads: &Reads<'_>) -> Arc<dyn Service> {
    let mut served = Served::new(TemplateDefinition::default(), Arc::new(library), 0);
    assert!(cache.keep_reads(&mut served, NAME, &SHOP, plan, reads));
    served.service
}

fn reads(is_bound: bool) -> Reads<'static> {
    let binding = is_bound.then(|| Arc::new(Region) as Arc<dyn Binding>);
    Reads { definition: b"library", binding, open: true }
}

fn read(caller: &Arc<Caller>, uri: &str) -> Request {
    let params = json!({ "uri": uri });
    request(caller, &params.to_string())
}

fn request(caller: &Arc<Caller>, params: &str) -> Request {
    let body =
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{params}}}"#));
    let (_, envelope) = scan(&body).unwrap();
    Request::new(body, &envelope, Method::ResourcesRead, Revision::LATEST, Arc::clone(caller), 7)
}

fn from(subject: &str, roles: &[&str], region: Option<&str>) -> Arc<Caller> {
    let mut caller = Caller::clone(&caller(subject, roles));
    caller.claims.extend(region.map(|region| ("region".to_owned(), region.into())));
    Arc::new(caller)
}

/// What a read told: of which URI, and all that the library put in.
fn told(reply: &Reply) -> (String, Value) {
    let members: Value =
        serde_json::from_str(&format!("{{{}}}", String::from_utf8_lossy(reply.members()))).unwrap();
    let content = &members["contents"][0];
    let text = serde_json::from_str(content["text"].as_str().unwrap()).unwrap();
    (content["uri"].as_str().unwrap().to_owned(), text)
}

async fn number(service: &Arc<dyn Service>, caller: &Arc<Caller>, uri: &str) -> u64 {
    told(&service.call(read(caller, uri)).await.unwrap()).1["number"].as_u64().unwrap()
}

/// Spellings that a careless comparison would take for one another.
const URIS: &[&str] = &[
    "r://a/b",
    "r://a/B",
    "R://a/b",
    "r://a/%62",
    "r://a/b/",
    "r://a/b?",
    "r://a/b#",
    "r://a//b",
    "r://a/b%00",
    "r://a/\u{e9}",
    "r://a/e\u{301}",
    "r://a/%C3%A9",
    "r://a/b\",\"x\":\"",
    "r://a",
];

prop_compose! {
    fn asker()(
        subject in prop::sample::select(vec!["ann", "bob"]),
        roles in prop::sample::select(vec![&["a"][..], &["a", "b"], &["b", "a"], &["ab"], &[]]),
        region in prop::sample::select(vec![None, Some(""), Some("eu"), Some("us"), Some("e")]),
    ) -> Arc<Caller> {
        from(subject, roles, region)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn reads_are_shared_by_those_who_must_have_the_same_and_nobody_else(
        scope in prop::sample::select(vec![Scope::Caller, Scope::Role, Scope::Public]),
        is_bound: bool,
        asked in vec((asker(), prop::sample::select(URIS)), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let cache = Cache::new(DEFAULT_SIZE);
            let service =
                kept_reads(&cache, Library::default(), &Plan { scope, ..plan("1h") }, &reads(is_bound));
            let mut known = HashMap::new();
            for (asker, uri) in asked {
                let reply = service.call(read(&asker, uri)).await.unwrap();
                let (of, text) = told(&reply);
                prop_assert_eq!(&of, uri);
                if is_bound {
                    prop_assert_eq!(text["region"].as_str(), region(&asker));
                }
                if scope == Scope::Caller {
                    prop_assert_eq!(&text["subject"], &*asker.subject);
                }
                // What cannot be bound is asked each time.
                if is_bound && region(&asker).is_none() {
                    prop_assert_eq!(status(&reply).0, "");
                    continue;
                }
                let mut roles = asker.roles.clone();
                roles.sort_unstable();
                let whose = match scope {
                    Scope::Caller => Some((vec![asker.subject.clone()], true)),
                    Scope::Role => Some((roles, false)),
                    Scope::Public => None,
                };
                let bound = is_bound.then(|| region(&asker).map(str::to_owned));
                let expected = known.get(&(whose.clone(), bound.clone(), uri)).copied();
                prop_assert_eq!(status(&reply).0, if expected.is_some() { "hit" } else { "miss" });
                let number = text["number"].as_u64();
                prop_assert_eq!(known.entry((whose, bound, uri)).or_insert(number), &number);
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_a_hit_the_second_time_and_says_how_old_it_is_and_how_long_it_lasts() {
    let cache = Cache::new(DEFAULT_SIZE);
    let plan = Plan { stale: Duration::from_secs(5), ..plan("10s") };
    let service = kept_reads(&cache, Library::default(), &plan, &reads(false));
    let say = async |uri: &str| {
        let reply = service.call(read(&local(), uri)).await.unwrap();
        assert!(reply.meta().starts_with(br#""own":1,"#));
        (told(&reply).1["number"].as_u64().unwrap(), status(&reply), reply.hints().unwrap().ttl_ms)
    };
    assert_eq!(say("r://a").await, (1, ("miss".into(), 0), 10_000));
    advance(Duration::from_millis(3_500)).await;
    assert_eq!(say("r://a").await, (1, ("hit".into(), 3_500), 6_500));
    assert_eq!(say("r://b").await, (2, ("miss".into(), 0), 10_000));
    // The same URI, as JSON may write it too.
    let reply = service.call(request(&local(), r#"{"\u0075ri" : "r:\/\/\u0061"}"#)).await.unwrap();
    assert_eq!((told(&reply).1["number"].as_u64(), status(&reply).0), (Some(1), "hit".into()));
    advance(Duration::from_secs(8)).await;
    assert_eq!(say("r://a").await, (1, ("stale".into(), 11_500), 0), "of an old answer nothing is promised");
    settled(|| cache.renewals.available_permits() == MOST_RENEWALS).await;
    assert_eq!(say("r://a").await, (3, ("hit".into(), 0), 10_000));
    advance(Duration::from_secs(16)).await;
    assert_eq!(say("r://a").await.1, ("miss".into(), 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_service_says_of_its_reads_binds_the_cache() {
    let hints = |ttl_ms, scope| Library { hints: Some(Hints { ttl_ms, scope }), ..Library::default() };
    let (ann, bob) = (from("ann", &["a"], None), from("bob", &["a"], None));
    for scope in [Scope::Role, Scope::Public] {
        let plan = Plan { scope, stale: Duration::from_secs(60), ..plan("10s") };
        let cache = Cache::new(DEFAULT_SIZE);
        // Its reads are for one caller: the others ask for themselves, and so does that one.
        let service = kept_reads(&cache, hints(60_000, CacheScope::Private), &plan, &reads(false));
        assert_eq!(number(&service, &ann, "r://a").await, 1);
        assert_eq!(number(&service, &bob, "r://a").await, 2);
        // Shorter than the file says, and never stale.
        let service = kept_reads(&cache, hints(2_000, CacheScope::Public), &plan, &reads(true));
        let eu = from("ann", &["a"], Some("eu"));
        let reply = service.call(read(&eu, "r://a")).await.unwrap();
        assert_eq!(reply.hints(), Some(Hints { ttl_ms: 2_000, scope: CacheScope::Private }));
        advance(Duration::from_millis(2_001)).await;
        assert_eq!(number(&service, &eu, "r://a").await, 2);
        // What is old at once is not kept.
        let service = kept_reads(&cache, hints(0, CacheScope::Public), &plan, &reads(false));
        assert_eq!(number(&service, &ann, "r://a").await, 1);
        assert_eq!(number(&service, &ann, "r://a").await, 2);
    }
}

#[tokio::test]
async fn a_read_is_called_public_only_where_everybody_may_have_it() {
    for (scope, is_bound, open) in [Scope::Caller, Scope::Role, Scope::Public]
        .into_iter()
        .flat_map(|scope| [(scope, false), (scope, true)])
        .flat_map(|(scope, is_bound)| [(scope, is_bound, false), (scope, is_bound, true)])
    {
        let reads = Reads { open, ..reads(is_bound) };
        let plan = Plan { scope, ..plan("1h") };
        let service = kept_reads(&Cache::new(DEFAULT_SIZE), Library::default(), &plan, &reads);
        let public = scope == Scope::Public && !is_bound && open;
        let expected = if public { CacheScope::Public } else { CacheScope::Private };
        for _ in 0..2 {
            let reply = service.call(read(&from("ann", &[], Some("eu")), "r://a")).await.unwrap();
            assert_eq!(reply.hints().unwrap().scope, expected, "{scope:?} {is_bound} {open}");
        }
    }
}

#[tokio::test]
async fn reads_go_with_their_tags_and_with_their_connector() {
    let cache = Cache::new(DEFAULT_SIZE);
    let tagged = Plan { scope: Scope::Public, tags: vec!["customers".into()], ..plan("1h") };
    let service = kept_reads(&cache, Library::default(), &tagged, &reads(false));
    let untagged =
        kept_reads(&cache, Library::default(), &plan("1h"), &Reads { definition: b"2", ..reads(false) });
    let ask =
        async || (number(&service, &local(), "r://a").await, number(&untagged, &local(), "r://a").await);
    let write = async |tag: &str| {
        let writer = cache.invalidate(Source::new(Answers::Counted), &[tag.into()]);
        writer.call(call(&local(), "{}")).await.unwrap();
    };
    assert_eq!((ask().await, ask().await), ((1, 1), (1, 1)));
    write("orders").await;
    assert_eq!(ask().await, (1, 1));
    write("customers").await;
    assert_eq!((ask().await, ask().await), ((2, 1), (2, 1)));
    cache.purge(&Purge::Connector("shop".into())).await.unwrap();
    assert_eq!(ask().await, (3, 2));
}

#[tokio::test]
async fn nothing_is_kept_of_reads_that_fail_or_that_cannot_be_told_apart() {
    let cache = Cache::new(DEFAULT_SIZE);
    let library = Library { is_down: true, ..Library::default() };
    let service = kept_reads(&cache, library, &plan("1h"), &reads(false));
    for _ in 0..3 {
        assert_eq!(
            service.call(read(&local(), "r://a")).await.unwrap_err().kind(),
            FailureKind::UpstreamUnavailable
        );
    }
    assert_eq!(cache.local.len(), 0);
    let library: Arc<Library> = Arc::default();
    let mut served = Served::new(TemplateDefinition::default(), Arc::clone(&library) as _, 0);
    let unknown = Reads { definition: b"", ..reads(false) };
    assert!(!cache.keep_reads(&mut served, NAME, &SHOP, &plan("1h"), &unknown));
    number(&served.service, &local(), "r://a").await;
    assert_eq!(number(&served.service, &local(), "r://a").await, 2);
}

#[tokio::test]
async fn things_of_other_names_or_definitions_never_share_a_read_of_one_uri() {
    let cache = Cache::new(DEFAULT_SIZE);
    let public = Plan { scope: Scope::Public, ..plan("1h") };
    let kept = |name: &str, origin: &Origin<'_>, definition: &[u8]| {
        let mut served = Served::new(TemplateDefinition::default(), Arc::<Library>::default() as _, 0);
        let reads = Reads { definition, ..reads(false) };
        assert!(cache.keep_reads(&mut served, name, origin, &public, &reads));
        served.service
    };
    let other = Origin { configuration: b"another file", ..SHOP };
    let services = [
        kept("r://{a}", &SHOP, b"1"),
        kept("r://{b}", &SHOP, b"1"),
        kept("r://{a}", &SHOP, b"2"),
        kept("r://{a}", &other, b"1"),
        kept("r://{a}", &Origin { connector: "other", ..SHOP }, b"1"),
    ];
    for service in &services {
        let reply = service.call(read(&local(), "r://x")).await.unwrap();
        assert_eq!(status(&reply).0, "miss");
    }
    // After a reload that changed nothing, what was kept is there.
    let reply = kept("r://{a}", &SHOP, b"1").call(read(&local(), "r://x")).await.unwrap();
    assert_eq!(status(&reply).0, "hit");
}
