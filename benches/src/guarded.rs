//! The echo of `bench-echo` with guards on: every request brings a token of some 700 bytes, and roles decide what there is.
//!
//! `bench-guarded mint FOLDER` makes a signing key and a token, and `bench-guarded keys FOLDER COUNT` as many API keys, the last of
//! which is written out: before servers start, since the harness reads tokens from its environment. `PORT` chooses the port,
//! `MINTED` the folder, `ROLES` how many roles there are (one, unless said), `WITH=keys` keys in place of tokens. `GUARDS=all` has
//! limits, validation and metrics on besides, `GUARDS=whole` also the breaker, the retries and the places of a connector, `GUARDS=cache`
//! answers from the cache too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trunkline::service::authenticate::{Access, ProtectedResource};
use trunkline::service::catalog::{Catalog, PAGE_SIZE, Parts};
use trunkline::service::endpoint::Live;
use trunkline::service::layers::Bounded;
use trunkline::service::seal::Sealer;
use trunkline::service::{Authenticator, Check, Endpoint, RouterOptions, Service};
use trunkline::{Server, tool};
use trunkline_guard::authenticate::file::AuthFile;
use trunkline_guard::authenticate::keys::{Absent, Order, Ring, SqliteKeys, issue};
use trunkline_guard::authenticate::{Assign, Identity, KeyCheck};
use trunkline_guard::authorize::{Authorize, Policy, PolicyFile, RoleFile, Surroundings};
use trunkline_guard::cache::{Cache, CacheFile, Origin, Subject};
use trunkline_guard::limit::{
    Counted, LimitFile, LimitState, Limited, Limits, LimitsFile, LimitsSpec, ThingSpec,
};
use trunkline_guard::record::Observed;
use trunkline_guard::resilience::{Repeatable, Resilient, Source, SourceConfig};
use trunkline_guard::validate::Validate;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AUDIENCE: &str = "https://bench.example/mcp";

/// Echoes the message.
#[tool(read_only)]
async fn echo(
    /// What to say.
    message: String,
) -> String {
    message
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mint", folder] => mint(Path::new(folder)),
        ["keys", folder, count] => runtime.block_on(make_keys(Path::new(folder), count.parse()?)),
        [] => runtime.block_on(serve()),
        _ => anyhow::bail!("write `mint FOLDER`, `keys FOLDER COUNT` or nothing"),
    }
}

// ---- before ----

/// Writes `jwks.json` and `token`.
fn mint(folder: &Path) -> anyhow::Result<()> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..).context("no point")?.split_at(32);
    let key = json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": "bench",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    std::fs::write(folder.join("jwks.json"), json!({ "keys": [key] }).to_string())?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let mut claims = json!({
        "iss": "http://127.0.0.1:1", "sub": "00u1a2b3c4d5e6f7g8h9", "aud": AUDIENCE, "iat": now, "exp": now + 86_400,
        "scope": "openid profile tools:read", "groups": ["staff", "support", "role-0"], "email": "ann@bench.example",
        "name": "Ann Example", "tenant": "acme", "pad": "",
    });
    let parts = |claims: &Value| {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "bench" }).to_string();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    // What is signed, a dot and 86 characters of signature come to 700 bytes.
    let missing = 700usize.saturating_sub(parts(&claims).len() + 87) * 3 / 4;
    claims["pad"] = "x".repeat(missing).into();
    let signed = parts(&claims);
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes())?;
    std::fs::write(folder.join("token"), format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))?;
    Ok(())
}

/// Makes `keys.db` with so many keys, and writes the last one to `key`.
async fn make_keys(folder: &Path, count: usize) -> anyhow::Result<()> {
    let store = SqliteKeys::new(folder.join("keys.db"), Absent::Create);
    for number in 0..count {
        let order =
            Order { name: format!("holder-{number}"), roles: vec!["role-0".to_owned()], ..Order::default() };
        let issued = issue(&store, order).await?;
        if number + 1 == count {
            std::fs::write(folder.join("key"), issued.key.reveal())?;
        }
    }
    Ok(())
}

// ---- serving ----

async fn serve() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::var("MINTED").context("MINTED names the folder")?);
    let roles: usize = std::env::var("ROLES").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8940);
    let built = Server::new("echo", "1").tool(echo).build()?;
    let bare = built.live().load_full();
    let policy = Arc::new(policy(roles)?);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let identity = match std::env::var("WITH").as_deref() {
        Ok("keys") => {
            let store = Arc::new(SqliteKeys::new(folder.join("keys.db"), Absent::Create));
            let ring = Ring::start(store, std::time::Duration::from_secs(300), &tasks, stop.clone()).await;
            identity(&json!({}), Some(ring), &policy)?
        }
        _ => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let document = std::fs::read_to_string(folder.join("jwks.json"))?;
            tasks.spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let mut answer = String::from("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
                    let _ = write!(
                        answer,
                        "connection: close\r\ncontent-length: {}\r\n\r\n{document}",
                        document.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            let section = json!({
                "issuer": "http://127.0.0.1:1", "audience": AUDIENCE, "jwks-url": format!("http://{address}/jwks.json"),
            });
            identity(&json!({ "bench": section }), None, &policy)?
        }
    };
    let options = RouterOptions::new(Arc::clone(built.live().shared()));
    let authenticator: Arc<dyn Authenticator> = identity;
    let guards = std::env::var("GUARDS").unwrap_or_default();
    let limits = Arc::new(Limits::new(&limits()?, &LimitState::new(), policy.local()));
    let catalog = match guards.as_str() {
        "" => Arc::clone(&bare.catalog),
        more => around(&bare.catalog, &limits, more)?,
    };
    let guard = Authorize::new(policy, Arc::clone(&catalog), &bare.info, options)
        .with_authenticator(Arc::clone(&authenticator));
    let capabilities = guard.capabilities();
    let service = Arc::new(guard);
    let bounded: Arc<dyn Service> = match guards.as_str() {
        "" => Arc::new(Bounded::new(Arc::clone(&service), 1024, Arc::default())),
        _ => {
            let limited = Limited::new(Arc::clone(&service), Arc::clone(&limits), Counted::AtTheDoor);
            let bounded = Bounded::new(limited, 1024, Arc::default());
            Arc::new(Observed::new(bounded, Arc::default(), Arc::clone(&catalog)))
        }
    };
    let access = Access::Guarded { authenticator, resource: Arc::new(ProtectedResource::default()) };
    let time = Some(std::time::Duration::from_secs(30));
    let endpoint = Endpoint::new(bounded, catalog, bare.info.clone(), capabilities, time)
        .with_access(access)
        .with_views(service);
    let endpoint = match limits.door(Counted::AtTheDoor).filter(|_| !guards.is_empty()) {
        Some(door) => endpoint.with_door(door),
        None => endpoint,
    };
    let live = Live::with_shared(endpoint, Arc::clone(built.live().shared()));
    let edge = trunkline::server::http::Http::new(live, built.http_options());
    edge.serve(TcpListener::bind(("127.0.0.1", port)).await?, CancellationToken::new()).await?;
    Ok(())
}

/// Limits of every kind, too high to refuse anything.
fn limits() -> anyhow::Result<LimitsSpec> {
    let many = "100000/s";
    let file: LimitsFile =
        serde_json::from_value(json!({ "server": many, "address": many, "caller": many }))?;
    let role = serde_json::from_value(json!({ "limit": many }))?;
    let (spec, problems) = file.resolve(&[("role-0".to_owned(), role)]);
    anyhow::ensure!(problems.is_empty(), "{problems:?}");
    Ok(spec)
}

/// Puts around each tool what the command line puts around those of a file.
fn around(catalog: &Catalog, limits: &Arc<Limits>, guards: &str) -> anyhow::Result<Arc<Catalog>> {
    let many = serde_json::from_value::<LimitFile>("100000/s".into())?.0;
    let spec = ThingSpec { limit: Some(many), ..ThingSpec::default() };
    let source = Source::new(SourceConfig::new("bench", 1024));
    let cache = Cache::new(64 << 20);
    let mut parts: Parts = catalog.parts().clone();
    for entry in &mut parts.tools {
        let name = entry.definition.name.as_str().to_owned();
        let validate: Arc<dyn Check> = Arc::new(Validate::of(entry)?);
        let limit = limits.check(Some((name.as_str(), &spec)), Some(("bench", &spec)));
        entry.checks = limit.into_iter().chain([validate]).collect();
        entry.facts.definition = name.as_bytes().into();
        if guards != "all" {
            let inner = Arc::clone(&entry.service);
            entry.service = Arc::new(Resilient::new(inner, Arc::clone(&source), Repeatable::Always));
        }
        if guards == "cache" {
            let file: CacheFile = serde_json::from_value(json!({ "ttl": "1h", "scope": "role" }))?;
            let (path, what) = (["tools", name.as_str()], "tool");
            let subject = Subject {
                path: &path,
                what,
                read_only: true,
                inherited: false,
                bindings: &[],
                guarded: true,
            };
            let (plan, problems) = file.resolve(&subject);
            anyhow::ensure!(problems.is_empty(), "{problems:?}");
            let plan = plan.context("a cache")?;
            let origin = Origin { connector: "bench", configuration: &[], lag: std::time::Duration::ZERO };
            cache.keep_answers(entry, &origin, &plan);
        }
    }
    Ok(Arc::new(Catalog::of(parts, PAGE_SIZE, &Arc::new(Sealer::random()?))?))
}

fn identity(jwt: &Value, keys: Option<Arc<Ring>>, policy: &Arc<Policy>) -> anyhow::Result<Arc<Identity>> {
    let file: AuthFile = serde_json::from_value(json!({ "jwt": jwt }))?;
    let (auth, problems) = file.resolve(None);
    anyhow::ensure!(problems.is_empty(), "{problems:?}");
    let assign: Arc<dyn Assign> = Arc::clone(policy) as _;
    Ok(Identity::new(&auth, keys.map(|ring| ring as Arc<dyn KeyCheck>), assign))
}

/// So many roles, of which the caller has the first: by a claim of the token, or as the key was made.
fn policy(roles: usize) -> anyhow::Result<Policy> {
    let role = |number: usize| -> anyhow::Result<(String, RoleFile)> {
        let file = json!({
            "match": { "claim": "groups", "has": format!("role-{number}") },
            "allow": ["tools:echo", format!("tools:other_{number}_*")],
        });
        Ok((format!("role-{number}"), serde_json::from_value(file)?))
    };
    let roles = (0..roles).map(role).collect::<anyhow::Result<Vec<_>>>()?;
    let file = PolicyFile { roles: Some(roles), ..PolicyFile::default() };
    let (policy, problems) = file.resolve(Surroundings { issuers: &[], auth: true, keys: true });
    anyhow::ensure!(problems.is_empty(), "{problems:?}");
    Ok(policy)
}
