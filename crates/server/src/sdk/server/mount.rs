//! A server as part of an axum application.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;

use super::{BuildError, BuiltServer, Server};
use crate::http::Http;

impl Server {
    /// Builds the server and turns it into routes, as [`BuiltServer::into_router`].
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn into_router(self) -> Result<Router, BuildError> {
        self.build().map(BuiltServer::into_router)
    }
}

impl BuiltServer {
    /// Turns the server into routes for an axum application: its [`path`](Server::path), with and without a slash at its end.
    ///
    /// Host and Origin are checked as when the server listens by itself: add what the application is called with
    /// [`Server::allowed_host`]. Nobody is asked who they are; put layers around the routes for that. Requests that axum drops
    /// are cancelled.
    ///
    /// Before a graceful shutdown of axum waits for its connections, call
    /// [`ServerHandle::stop`](super::ServerHandle::stop): a subscription that is open holds its connection as long as its client
    /// likes.
    pub fn into_router(self) -> Router {
        let edge = Arc::new(Http::new(self.live().clone(), self.http_options()));
        let path = self.serving.path.trim_end_matches('/').to_owned();
        // The server lives as long as its routes.
        let hub = self.hub;
        // There is one edge for each server, as `self` is gone.
        let _ = hub.mounted.set(Arc::downgrade(&edge));
        let answer = any(move |request: Request| {
            let (edge, hub) = (Arc::clone(&edge), Arc::clone(&hub));
            async move {
                let response = edge.respond(request).await.map(Body::new);
                drop(hub);
                response
            }
        });
        let router = Router::new().route(&format!("{path}/"), answer.clone());
        if path.is_empty() { router } else { router.route(&path, answer) }
    }
}
