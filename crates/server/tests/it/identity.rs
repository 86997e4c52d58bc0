//! Who asks: what the HTTP edge tells those who may not come in yet, and to whom it lets the others pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trunkline_service::authenticate::{Access, Metadata, ProtectedResource};
use trunkline_service::endpoint::Live;
use trunkline_service::seal::now;
use trunkline_service::shared::{Later, NoRoom, session_number};
use trunkline_service::{
    Answer, Authenticator, Caller, Change, Credentials, Denied, DeniedKind, Failure, Request, Service, ready,
};

use crate::fixture::{Served, call, endpoint_of, initialize, live, modern, options, serve_http_with};
use crate::raw_http::{Connection, Stream, modern_headers, post, post_legacy, request};

const TOKEN: &str = "Bearer ada-token";
const METADATA: &str = "/.well-known/oauth-protected-resource/tenant-a/mcp";

/// Knows two callers by their tokens.
#[derive(Debug, Default)]
pub(crate) struct TwoCallers {
    generation: AtomicU64,
    asked: AtomicUsize,
    expires: AtomicU64,
}

impl Authenticator for TwoCallers {
    fn remembered(&self, _: &Credentials<'_>) -> Option<Arc<Caller>> {
        None
    }

    fn authenticate<'a>(&'a self, credentials: Credentials<'a>) -> Later<'a, Result<Arc<Caller>, Denied>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let expires = self.expires.load(Ordering::SeqCst);
        let subject = match (credentials.authorization, credentials.api_key) {
            (Some(value), None) => match value.split_at_checked(7) {
                Some((scheme, b"ada-token")) if scheme.eq_ignore_ascii_case(b"bearer ") => "ada",
                Some((scheme, b"bob-token")) if scheme.eq_ignore_ascii_case(b"bearer ") => "bob",
                Some((_, b"nobody-knows")) => {
                    let denied = Denied::new(DeniedKind::Unavailable, "nobody can tell now; try again later");
                    return Box::pin(std::future::ready(Err(denied)));
                }
                _ => "",
            },
            _ => "",
        };
        let verdict = match subject {
            "" => Err(Denied::new(DeniedKind::Invalid, "this token does not hold")),
            subject => Ok(Arc::new(Caller {
                issuer: Some("https://login.example".into()),
                subject: subject.into(),
                expires: (expires > 0).then_some(expires),
                ..Caller::default()
            })),
        };
        Box::pin(std::future::ready(verdict))
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn ended<'a>(&'a self, _: &'a Caller) -> Later<'a, ()> {
        Box::pin(std::future::pending())
    }
}

async fn serve() -> (Served, Arc<TwoCallers>) {
    let (live, seen) = live();
    let (access, authenticator) = guarded();
    let guarded =
        Live::with_shared(endpoint_like(&live, None).with_access(access), Arc::clone(live.shared()));
    let mut options = options();
    options.public_path = Some("/tenant-a/mcp".to_owned());
    (serve_http_with((guarded, seen), options).await, authenticator)
}

fn endpoint_like(live: &Live, service: Option<Arc<dyn Service>>) -> trunkline_service::Endpoint {
    let endpoint = endpoint_of(live, 5);
    match service {
        Some(service) => trunkline_service::Endpoint { service, ..endpoint },
        None => endpoint,
    }
}

pub(crate) fn guarded() -> (Access, Arc<TwoCallers>) {
    let authenticator = Arc::new(TwoCallers::default());
    let metadata = Metadata {
        path: METADATA.into(),
        url: format!("https://gw.example{METADATA}").into(),
        document: Bytes::from_static(
            br#"{"resource":"https://gw.example/tenant-a/mcp","authorization_servers":["https://login.example"]}"#,
        ),
    };
    let resource = Arc::new(ProtectedResource { metadata: Some(metadata), scopes: Vec::new() });
    (Access::Guarded { authenticator: Arc::clone(&authenticator) as _, resource }, authenticator)
}

#[tokio::test]
async fn au_01_where_the_resource_metadata_lives() {
    let (http, _) = serve().await;
    let body = call("1", "noargs", "{}");
    let answer = post(http.address, &body, &[("Host", "attacker.example")]).await;
    assert_eq!(answer.status, 401);
    let challenge = format!("Bearer resource_metadata=\"https://gw.example{METADATA}\"");
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    let forwarded = [("X-Forwarded-Host", "attacker.example"), ("Forwarded", "host=attacker.example")];
    let answer = post(http.address, &body, &forwarded).await;
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    for headers in [&[][..], &[("Host", "attacker.example"), ("X-Forwarded-Host", "attacker.example")]] {
        let answer = request(http.address, "GET", METADATA, headers, b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.json()["resource"], "https://gw.example/tenant-a/mcp");
        assert_eq!(answer.json()["authorization_servers"], json!(["https://login.example"]));
    }
    let root = request(http.address, "GET", "/.well-known/oauth-protected-resource", &[], b"").await;
    assert_eq!(root.status, 404);
    assert_eq!(request(http.address, "POST", METADATA, &[], b"").await.status, 405);
    assert_eq!(http.seen.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn au_04_a_token_in_the_wrong_place_is_no_token() {
    let (http, authenticator) = serve().await;
    let list = modern("1", "tools/list", "");
    let headers = modern_headers(&list, &[]);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let in_query =
        request(http.address, "POST", "/mcp?access_token=ada-token", &headers, list.as_bytes()).await;
    assert_eq!(in_query.status, 401);
    assert_eq!(post(http.address, &list, &[("Cookie", "access_token=ada-token")]).await.status, 401);
    let in_body = modern("1", "tools/list", r#""access_token":"ada-token""#);
    assert_eq!(post(http.address, &in_body, &[]).await.status, 401);
    assert_eq!(authenticator.asked.load(Ordering::SeqCst), 0);
    let basic = post(http.address, &list, &[("Authorization", "Basic ada-token")]).await;
    assert_eq!(basic.status, 401);
    assert!(basic.header("www-authenticate").unwrap().starts_with("Bearer error=\"invalid_token\""));
    assert_eq!(post(http.address, &list, &[("Authorization", "bearer ada-token")]).await.status, 200);
    let twice =
        post(http.address, &list, &[("Authorization", TOKEN), ("Authorization", "Bearer bob-token")]).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_is_looked_at_and_has_no_id() {
    let (http, _) = serve().await;
    let answer = post(http.address, "this is no JSON", &[]).await;
    assert_eq!((answer.status, answer.json().get("id").cloned().unwrap_or_default()), (401, json!(null)));
    let answer = post(http.address, "this is no JSON", &[("Authorization", TOKEN)]).await;
    assert_eq!(answer.status, 400);
    let late =
        post(http.address, &call("1", "noargs", "{}"), &[("Authorization", "Bearer nobody-knows")]).await;
    assert_eq!((late.status, late.header("retry-after")), (503, Some("5")));
}

#[tokio::test]
async fn a_caller_with_a_token_still_needs_a_host_that_is_served() {
    let (http, _) = serve().await;
    let list = modern("1", "tools/list", "");
    let headers = [("Authorization", TOKEN), ("Host", "attacker.example")];
    assert_eq!(post(http.address, &list, &headers).await.status, 403);
    let headers = [("Authorization", TOKEN), ("Host", "mcp.example.com"), ("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(post(http.address, &list, &headers).await.status, 200);
    let headers = [("Authorization", TOKEN), ("Origin", "https://evil.example")];
    assert_eq!(post(http.address, &list, &headers).await.status, 403);
}

#[tokio::test]
async fn a_browser_reads_the_challenge_and_asks_first_without_a_token() {
    let (http, _) = serve().await;
    let origin = ("Origin", "https://claude.ai");
    let asked = [origin, ("Access-Control-Request-Headers", "authorization, content-type")];
    let preflight = request(http.address, "OPTIONS", "/mcp", &asked, b"").await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (204, Some("https://claude.ai"))
    );
    let answer = post(http.address, &modern("1", "tools/list", ""), &[origin]).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (401, Some("https://claude.ai"))
    );
    assert!(answer.header("access-control-expose-headers").unwrap().contains("WWW-Authenticate"));
}

#[tokio::test]
async fn the_path_of_the_public_name_is_served_besides_the_usual_one() {
    let (http, _) = serve().await;
    let list = modern("1", "tools/list", "");
    let headers = modern_headers(&list, &[("Authorization", TOKEN)]);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    for (path, status) in
        [("/mcp", 200), ("/tenant-a/mcp", 200), ("/tenant-a/mcp/", 200), ("/tenant-b/mcp", 404)]
    {
        assert_eq!(
            request(http.address, "POST", path, &headers, list.as_bytes()).await.status,
            status,
            "{path}"
        );
    }
}

async fn post_on(connection: &mut Connection, body: &str, changes: &[(&str, &str)]) -> u16 {
    let headers = modern_headers(body, changes);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    connection.send("POST", "/mcp", &headers, body.as_bytes()).await;
    connection.answer().await.status
}

#[tokio::test]
async fn a_connection_asks_once_and_again_when_anything_may_hold_no_longer() {
    let (http, authenticator) = serve().await;
    let mut connection = Connection::open(http.address).await;
    let list = modern("1", "tools/list", "");
    let asked = || authenticator.asked.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(post_on(&mut connection, &list, &[("Authorization", TOKEN)]).await, 200);
    }
    assert_eq!(asked(), 1);
    assert_eq!(post_on(&mut connection, &list, &[("Authorization", "Bearer bob-token")]).await, 200);
    assert_eq!(post_on(&mut connection, &list, &[("Authorization", "Bearer eve-token")]).await, 401);
    assert_eq!(post_on(&mut connection, &list, &[]).await, 401);
    assert_eq!(asked(), 3);
    authenticator.generation.fetch_add(1, Ordering::SeqCst);
    assert_eq!(post_on(&mut connection, &list, &[("Authorization", "Bearer bob-token")]).await, 200);
    assert_eq!(asked(), 4);
    // What is remembered ends with the token.
    authenticator.expires.store(now() - 1, Ordering::SeqCst);
    authenticator.generation.fetch_add(1, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(post_on(&mut connection, &list, &[("Authorization", "Bearer bob-token")]).await, 200);
    }
    assert_eq!(asked(), 6);
}

#[tokio::test]
async fn a_body_that_is_held_back_does_not_outlast_the_judgement_of_its_head() {
    let (http, authenticator) = serve().await;
    let (list, long) = (modern("1", "tools/list", ""), "4096");
    let headers = modern_headers(&list, &[("Authorization", TOKEN), ("Content-Length", long)]);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", http.address);
    let body = format!("{list:<4096}");
    let (first, rest) = body.split_at(20);
    let mut judged = 0;
    for (rises, status) in [(0, "200"), (1, "503")] {
        let mut stream = TcpStream::connect(http.address).await.unwrap();
        stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
        judged += 1;
        while authenticator.asked.load(Ordering::SeqCst) < judged {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The head was judged, and the body is waited for by then.
        tokio::time::sleep(Duration::from_millis(100)).await;
        authenticator.generation.fetch_add(rises, Ordering::SeqCst);
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test]
async fn a_session_belongs_to_the_caller_who_began_it() {
    let (http, _) = serve().await;
    let ada = [("Authorization", TOKEN)];
    let answer = post_legacy(http.address, &initialize("2025-11-25"), None, &ada).await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(post_legacy(http.address, list, Some(&session), &ada).await.status, 200);
    assert_eq!(post_legacy(http.address, list, Some(&session), &[]).await.status, 401);
    let bob = [("Authorization", "Bearer bob-token")];
    assert_eq!(post_legacy(http.address, list, Some(&session), &bob).await.status, 404);
    let headers = [("Authorization", "Bearer bob-token"), ("Mcp-Session-Id", session.as_str())];
    assert_eq!(request(http.address, "DELETE", "/mcp", &headers, b"").await.status, 404);
    assert_eq!(post_legacy(http.address, list, Some(&session), &ada).await.status, 200);
}

#[tokio::test]
async fn the_stand_alone_stream_of_a_caller_ends_after_a_reload_so_that_they_are_judged_again() {
    let (live, seen) = live();
    let (access, _) = guarded();
    let endpoint = |tools: usize| endpoint_of(&live, tools).with_access(access.clone());
    let guarded = Live::with_shared(endpoint(5), Arc::clone(live.shared()));
    let http = serve_http_with((guarded.clone(), seen), options()).await;
    let ada = ("Authorization", TOKEN);
    let answer = post_legacy(http.address, &initialize("2025-11-25"), None, &[ada]).await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let headers = [("Accept", "text/event-stream"), ("Mcp-Session-Id", session.as_str()), ada];
    let mut stream = Stream::open(http.address, "GET", &headers, "").await;
    guarded.store(endpoint(3));
    // What was to be told by the old one is told.
    assert_eq!(stream.message().await.unwrap()["method"], "notifications/tools/list_changed");
    while stream.message().await.is_some() {}
    // The session goes on, for whoever proves again to be its caller.
    let mut again = Stream::open(http.address, "GET", &headers, "").await;
    guarded.announce(Change::Tools);
    assert_eq!(again.message().await.unwrap()["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn missing_scopes_are_challenged_in_both_eras() {
    struct Scoped;
    impl Service for Scoped {
        fn call(&self, _: Request) -> Answer<'_> {
            ready(Err(Failure::insufficient_scope(vec!["files:read".into(), "files:write".into()])))
        }
    }
    let (live, seen) = live();
    let (access, _) = guarded();
    let endpoint = endpoint_like(&live, Some(Arc::new(Scoped))).with_access(access);
    let http =
        serve_http_with((Live::with_shared(endpoint, Arc::clone(live.shared())), seen), options()).await;
    let ada = [("Authorization", TOKEN)];
    let challenge = format!(
        "Bearer error=\"insufficient_scope\", resource_metadata=\"https://gw.example{METADATA}\", scope=\"files:read files:write\""
    );
    let answer = post(http.address, &call("7", "noargs", "{}"), &ada).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (403, Some(challenge.as_str())));
    assert_eq!(
        (answer.json()["id"].clone(), answer.json()["error"]["code"].clone()),
        (json!(7), json!(-32600))
    );
    let session = post_legacy(http.address, &initialize("2025-11-25"), None, &ada).await;
    let session = session.header("mcp-session-id").unwrap().to_owned();
    let called = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"noargs"}}"#;
    let answer = post_legacy(http.address, called, Some(&session), &ada).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (403, Some(challenge.as_str())));
}

#[tokio::test]
async fn one_caller_who_ends_very_many_sessions_is_told_so_and_others_may_end_theirs() {
    let (live, seen) = live();
    let (access, _) = guarded();
    live.store(endpoint_like(&live, None).with_access(access));
    let http = serve_http_with((live.clone(), seen), options()).await;
    let ada =
        Caller { issuer: Some("https://login.example".into()), subject: "ada".into(), ..Caller::default() };
    for own in 0..100_000 {
        let ended = live.shared().end_session(session_number(&ada, own), now() + 600).await;
        if ended.is_err() {
            assert_eq!((own, ended), (32_768, Err(NoRoom::OfCaller)));
            break;
        }
    }
    for (token, status) in [(TOKEN, 429), ("Bearer bob-token", 204)] {
        let auth = [("Authorization", token)];
        let begun = post_legacy(http.address, &initialize("2025-11-25"), None, &auth).await;
        let session = begun.header("mcp-session-id").unwrap().to_owned();
        let headers = [("Authorization", token), ("Mcp-Session-Id", session.as_str())];
        let answer = request(http.address, "DELETE", "/mcp", &headers, b"").await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 429 {
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains("this one ends by itself"));
            assert_eq!(answer.header("retry-after"), Some("60"));
        }
        // And it goes on, or not.
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let list = post_legacy(http.address, body, Some(&session), &auth).await;
        assert_eq!(list.status, if status == 429 { 200 } else { 404 });
    }
}
