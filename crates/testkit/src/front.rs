//! A front without stickiness: each request, not each connection, goes to the next node.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use crate::http::{Body, serve as serve_http, whole};

/// Serves `listener` until it fails, from `nodes` (each `HOST:PORT`) in turn.
///
/// Headers and `Host` pass as they came, bodies stream both ways, and a client that leaves is one that leaves the node too.
///
/// # Errors
/// What the listener reports, and `InvalidInput` without any node.
pub async fn serve(listener: TcpListener, nodes: Vec<Authority>) -> io::Result<()> {
    if nodes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a front needs at least one node"));
    }
    let front = Arc::new(Front {
        nodes,
        next: AtomicUsize::new(0),
        // A connection for each request: one that a node closes while it idles would cost a test its request.
        client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http(),
    });
    serve_http(listener, move |request| {
        let front = Arc::clone(&front);
        async move { front.forward(request).await }
    })
    .await
}

#[derive(Debug)]
struct Front {
    nodes: Vec<Authority>,
    next: AtomicUsize,
    client: Client<HttpConnector, Incoming>,
}

impl Front {
    async fn forward(&self, mut request: Request<Incoming>) -> Response<Body> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let Some(node) = self.nodes.get(turn) else { return unreachable_node("no node") };
        *request.uri_mut() = at_node(node, request.uri());
        request.headers_mut().remove(CONNECTION);
        match self.client.request(request).await {
            Ok(mut response) => {
                response.headers_mut().remove(CONNECTION);
                response.headers_mut().remove(TRANSFER_ENCODING);
                response.map(|body| body.map_err(Into::into).boxed_unsync())
            }
            Err(error) => unreachable_node(&format!("node {node}: {error}")),
        }
    }
}

fn at_node(node: &Authority, uri: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(node.clone());
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    // All three parts are there, which is all that is asked of them.
    Uri::from_parts(parts).unwrap_or_default()
}

fn unreachable_node(text: &str) -> Response<Body> {
    whole(StatusCode::BAD_GATEWAY, "text/plain", text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    /// A node that answers every request with its number and the `Host` it was asked under.
    async fn node(number: usize, tasks: &mut JoinSet<io::Result<()>>) -> Authority {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tasks.spawn(serve_http(listener, move |request| async move {
            let host = request.headers().get("host").unwrap().to_str().unwrap().to_owned();
            whole(StatusCode::OK, "text/plain", format!("[{number} {host} {}]", request.uri().path()))
        }));
        address.parse().unwrap()
    }

    #[tokio::test]
    async fn requests_of_one_connection_go_to_the_nodes_in_turn() {
        let mut tasks = JoinSet::new();
        let nodes = vec![node(1, &mut tasks).await, node(2, &mut tasks).await];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn(serve(listener, nodes));
        let mut connection = TcpStream::connect(address).await.unwrap();
        let mut told = String::new();
        for expected in 1..=4 {
            connection
                .write_all(b"POST /mcp HTTP/1.1\r\nhost: example\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            let mut buffer = [0; 1024];
            while told.matches(']').count() < expected {
                let read = connection.read(&mut buffer).await.unwrap();
                told.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
        }
        let turns: Vec<&str> = told.split(['[', ']']).skip(1).step_by(2).collect();
        assert_eq!(turns, ["1 example /mcp", "2 example /mcp", "1 example /mcp", "2 example /mcp"]);
    }
}
