//! Where an issuer keeps its keys: its metadata, at the addresses of RFC 8414 and OpenID Connect Discovery, in that order.
//!
//! A document whose `issuer` is not the configured one to the byte counts for nothing (RFC 8414 section 3.3).

use reqwest::Url;
use serde::Deserialize;

use super::fetch::{Fetch, FetchError, is_local, may_be_asked};

/// Why the keys of an issuer were not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// The last address that was tried did not answer as it should.
    #[error("the metadata of issuer `{issuer}` was found at none of its well-known addresses")]
    NotFound {
        issuer: Box<str>,
        #[source]
        source: FetchError,
    },
    /// A document that does not say what it has to.
    #[error("the document at `{url}` is no metadata with an `issuer` and a `jwks_uri`")]
    NoMetadata { url: Url },
    /// A document of somebody else.
    #[error(
        "the document at `{url}` is of another `issuer` than `{issuer}`; write `issuer` exactly as it says it there"
    )]
    OtherIssuer { url: Url, issuer: Box<str> },
    /// An address for keys that may not be asked.
    #[error("the `jwks_uri` of issuer `{issuer}` is no `https` address; set `jwks-url` if it is right")]
    OpenKeys { issuer: Box<str> },
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Finds the address of an issuer's keys.
pub(crate) async fn find_keys(fetch: &Fetch, issuer: &str, at: &Url) -> Result<Url, DiscoveryError> {
    let mut failed = None;
    for url in addresses(at) {
        let document = match fetch.get(&url).await {
            Ok(document) => document,
            Err(source) => {
                let is_down = matches!(source, FetchError::Silent { .. });
                let error = DiscoveryError::NotFound { issuer: issuer.into(), source };
                // Nobody there: the other addresses are on the same machine.
                if is_down {
                    return Err(error);
                }
                failed.get_or_insert(error);
                continue;
            }
        };
        match read(&document, issuer, &url, is_local(at)) {
            Ok(keys) => return Ok(keys),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| DiscoveryError::NoMetadata { url: at.clone() }))
}

fn read(document: &[u8], issuer: &str, url: &Url, issuer_is_local: bool) -> Result<Url, DiscoveryError> {
    let metadata: Metadata =
        serde_json::from_slice(document).map_err(|_| DiscoveryError::NoMetadata { url: url.clone() })?;
    if metadata.issuer != issuer {
        return Err(DiscoveryError::OtherIssuer { url: url.clone(), issuer: issuer.into() });
    }
    // An issuer elsewhere has no say over what is asked on this machine.
    let is_fine = |keys: &Url| may_be_asked(keys) && (!is_local(keys) || issuer_is_local);
    let keys = Url::parse(&metadata.jwks_uri).ok().filter(is_fine);
    keys.ok_or_else(|| DiscoveryError::OpenKeys { issuer: issuer.into() })
}

/// Returns where the metadata may be. RFC 8414 section 3.1 and 5, OpenID Connect Discovery section 4.1.
fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_at_three_addresses_in_their_order() {
        let of = |issuer: &str| {
            addresses(&Url::parse(issuer).unwrap()).into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(
            of("https://a.example/t1"),
            [
                "https://a.example/.well-known/oauth-authorization-server/t1",
                "https://a.example/.well-known/openid-configuration/t1",
                "https://a.example/t1/.well-known/openid-configuration",
            ]
        );
        for root in ["https://a.example", "https://a.example/"] {
            assert_eq!(
                of(root),
                [
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ]
            );
        }
    }

    #[test]
    fn a_document_counts_only_for_the_issuer_it_names_to_the_byte() {
        let url = Url::parse("https://a.example/x").unwrap();
        let read = |issuer: &str, keys: &str, local| {
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
            read(document.as_bytes(), "https://a.example", &url, local).map(String::from)
        };
        assert_eq!(
            read("https://a.example", "https://keys.example/k", false).unwrap(),
            "https://keys.example/k"
        );
        for other in ["https://a.example/", "https://A.example", "https://b.example", ""] {
            let error = read(other, "https://keys.example/k", false).unwrap_err();
            assert!(matches!(error, DiscoveryError::OtherIssuer { .. }), "{error}");
        }
        for open in ["http://keys.example/k", "http://127.0.0.1/k", "https://localhost/k", "file:///k", "k"] {
            let error = read("https://a.example", open, false).unwrap_err();
            assert!(matches!(error, DiscoveryError::OpenKeys { .. }), "{open}: {error}");
        }
        assert!(read("https://a.example", "http://127.0.0.1/k", true).is_ok());
    }
}
