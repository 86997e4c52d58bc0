//! Asking an issuer over HTTP: bounded in time and size, no redirects, encrypted unless it is this machine.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use trunkline_protocol::header::is_loopback;

/// How long one question may take, from the first byte sent to the last received.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// The largest document that is read.
const MAX_DOCUMENT: usize = 512 * 1024;

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No TLS to be had on this machine.
    #[error("no HTTP client could be made")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("no answer from `{url}`")]
    Silent {
        url: Box<str>,
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no document. Redirects are among them: keys come from where the configuration says.
    #[error("`{url}` answered with status {status}")]
    Status { url: Box<str>, status: u16 },
    /// Too long.
    #[error("the answer of `{url}` is longer than 512 KiB")]
    TooLarge { url: Box<str> },
    /// An address that may not be asked.
    #[error("`{url}` is neither `https` nor on this machine")]
    Open { url: Box<str> },
}

/// An HTTP client, made when it is first needed: reading the machine's certificates takes its time.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    remote: OnceLock<Client>,
    local: OnceLock<Client>,
}

impl Fetch {
    /// Fetches a document.
    pub(crate) async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let request = self.client(url)?.get(url.clone());
        read(url, request.header(ACCEPT, HeaderValue::from_static("application/json"))).await
    }

    /// Sends a form and reads the document that is answered. `authorization` is never shown.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        authorization: HeaderValue,
        form: String,
    ) -> Result<Vec<u8>, FetchError> {
        let request = self.client(url)?.post(url.clone()).body(form);
        let request = request
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .header(reqwest::header::AUTHORIZATION, authorization);
        read(url, request).await
    }

    fn client(&self, url: &Url) -> Result<&Client, FetchError> {
        if !may_be_asked(url) {
            return Err(FetchError::Open { url: shown(url) });
        }
        // This machine is never asked through a proxy of the environment.
        let is_local = is_local(url);
        let cell = if is_local { &self.local } else { &self.remote };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let builder = Client::builder()
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE);
        let builder = if is_local { builder.no_proxy() } else { builder };
        let made = builder.build().map_err(FetchError::Client)?;
        Ok(cell.get_or_init(|| made))
    }
}

/// Tells whether tokens and keys may travel there.
pub(crate) fn may_be_asked(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_local(url))
}

/// Tells whether the address is on this machine.
pub(crate) fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| is_loopback(host.trim_start_matches('[').trim_end_matches(']')))
}

/// Returns the address without what may be secret in it.
pub(crate) fn shown(url: &Url) -> Box<str> {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()).into()
}

async fn read(url: &Url, request: RequestBuilder) -> Result<Vec<u8>, FetchError> {
    let silent = |error: reqwest::Error| FetchError::Silent { url: shown(url), source: error.without_url() };
    let mut response = request.send().await.map_err(silent)?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(FetchError::Status { url: shown(url), status });
    }
    let mut document = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(silent)? {
        if document.len() + piece.len() > MAX_DOCUMENT {
            return Err(FetchError::TooLarge { url: shown(url) });
        }
        document.extend_from_slice(&piece);
    }
    Ok(document)
}
