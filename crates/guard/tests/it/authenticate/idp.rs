//! An identity provider in this process: documents at paths, an introspection endpoint, and a list of who asked what.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server on a port of this machine, until it is dropped.
pub(crate) struct Idp {
    address: SocketAddr,
    state: Arc<State>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    documents: Mutex<HashMap<String, Document>>,
    tokens: Mutex<HashMap<String, Value>>,
    asked: Mutex<Vec<Asked>>,
    delay: Mutex<Duration>,
}

#[derive(Clone)]
struct Document {
    status: u16,
    body: String,
    location: Option<String>,
}

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

impl Idp {
    /// Starts a server without any document.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let mut task = JoinSet::new();
        let served = Arc::clone(&state);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&served);
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(answer(&state, request).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state, _task: task }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes metadata of OpenID Connect and a key set.
    pub(crate) fn publish(&self, keys: &[Value]) {
        let issuer = self.issuer();
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
        self.put("/.well-known/openid-configuration", &metadata);
        self.put("/keys", &json!({ "keys": keys }));
    }

    pub(crate) fn put(&self, path: &str, document: &Value) {
        self.put_text(path, 200, &document.to_string());
    }

    pub(crate) fn put_text(&self, path: &str, status: u16, body: &str) {
        let document = Document { status, body: body.into(), location: None };
        self.state.documents.lock().unwrap().insert(path.into(), document);
    }

    pub(crate) fn redirect(&self, path: &str, to: &str) {
        let document = Document { status: 302, body: String::new(), location: Some(to.into()) };
        self.state.documents.lock().unwrap().insert(path.into(), document);
    }

    /// Has `/introspect` answer that for a token; for all others it says that they are not active.
    pub(crate) fn knows(&self, token: &str, answer: &Value) {
        self.state.tokens.lock().unwrap().insert(token.into(), answer.clone());
    }

    pub(crate) fn forgets(&self, token: &str) {
        self.state.tokens.lock().unwrap().remove(token);
    }

    /// Has every answer take that long.
    pub(crate) fn take(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// How often a path was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    state.asked.lock().unwrap().push(Asked { path: path.clone(), authorization, body: body.clone() });
    let delay = *state.delay.lock().unwrap();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let document = state.documents.lock().unwrap().get(&path).cloned();
    let document = match document {
        Some(document) => document,
        None if path == "/introspect" => {
            let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
            let known = state.tokens.lock().unwrap().get(token).cloned();
            let body = known.unwrap_or_else(|| json!({ "active": false })).to_string();
            Document { status: 200, body, location: None }
        }
        None => Document { status: 404, body: "none".into(), location: None },
    };
    let mut response = Response::builder().status(document.status);
    if let Some(location) = document.location {
        response = response.header("location", location);
    }
    response.body(Full::new(document.body.into())).unwrap()
}
