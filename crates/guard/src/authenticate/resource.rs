//! What an endpoint says of itself as an OAuth protected resource, built from the configuration and nothing else.
//!
//! RFC 9728: the document, and the well-known address in front of the resource's own path (section 3.1).

use reqwest::Url;
use serde_json::json;
use trunkline_service::authenticate::{Metadata, ProtectedResource};

/// The path in front.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What is known of the endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Described<'d> {
    /// Its public address: `server.url`, as configured.
    pub url: Option<&'d str>,
    /// A name for people: `server.name`.
    pub name: Option<&'d str>,
    /// Those who issue tokens for it, as configured.
    pub issuers: &'d [Box<str>],
    /// All scopes that anything of it asks for.
    pub scopes: &'d [Box<str>],
    /// The scopes a first login should ask for.
    pub login_scopes: &'d [Box<str>],
}

impl Described<'_> {
    /// Builds what refusals say and what is served at the well-known address. Without an address or without an issuer there is
    /// no metadata; an address with a fragment, or that is none, has none either (a problem of the file before).
    #[must_use]
    pub fn protected_resource(&self) -> ProtectedResource {
        let metadata = self.url.filter(|_| !self.issuers.is_empty()).and_then(|url| self.metadata(url));
        ProtectedResource { metadata, scopes: self.login_scopes.to_vec() }
    }

    fn metadata(&self, resource: &str) -> Option<Metadata> {
        let url = Url::parse(resource).ok().filter(|url| url.fragment().is_none() && url.has_host())?;
        // A slash that follows the host alone is not part of the path to put behind.
        let behind = if url.path() == "/" { "" } else { url.path() };
        let path = format!("{WELL_KNOWN}{behind}");
        let mut address = url.clone();
        address.set_path(&path);
        let mut document = json!({
            "resource": resource,
            "authorization_servers": self.issuers,
            "bearer_methods_supported": ["header"],
        });
        if let Some(name) = self.name {
            document["resource_name"] = name.into();
        }
        if !self.scopes.is_empty() {
            document["scopes_supported"] = json!(self.scopes);
        }
        Some(Metadata {
            path: address.path().into(),
            url: String::from(address).into(),
            document: document.to_string().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(url: &str) -> Option<Metadata> {
        let issuers = ["https://login.example".into()];
        Described { url: Some(url), issuers: &issuers, ..Described::default() }.protected_resource().metadata
    }

    #[test]
    fn au_01_the_well_known_path_stands_between_host_and_path() {
        let at = |url: &str| metadata(url).map(|metadata| metadata.url.into_string()).unwrap_or_default();
        let host = "https://gw.example/.well-known/oauth-protected-resource";
        assert_eq!(at("https://gw.example/tenant-a/mcp"), format!("{host}/tenant-a/mcp"));
        assert_eq!(at("https://gw.example"), host);
        assert_eq!(at("https://gw.example/"), host);
        assert_eq!(at("https://gw.example/mcp/"), format!("{host}/mcp/"));
        assert_eq!(at("https://gw.example/mcp?a=1"), format!("{host}/mcp?a=1"));
        assert_eq!(
            at("https://gw.example:8443/mcp"),
            "https://gw.example:8443/.well-known/oauth-protected-resource/mcp"
        );
        for none in ["https://gw.example/mcp#x", "mcp", "", "/mcp", "mailto:a@b"] {
            assert_eq!(metadata(none), None, "{none}");
        }
    }

    #[test]
    fn au_01_the_document_says_what_is_configured_to_the_byte() {
        let (issuers, scopes) = (["https://login.example/".into()], ["a".into(), "b".into()]);
        let described = Described {
            url: Some("HTTPS://gw.example/tenant-a/mcp"),
            name: Some("shop"),
            issuers: &issuers,
            scopes: &scopes,
            login_scopes: &scopes[..1],
        };
        let resource = described.protected_resource();
        assert_eq!(resource.scopes, ["a".into()]);
        let metadata = resource.metadata.unwrap();
        assert_eq!(&*metadata.path, "/.well-known/oauth-protected-resource/tenant-a/mcp");
        let document: serde_json::Value = serde_json::from_slice(&metadata.document).unwrap();
        let expected = json!({
            "resource": "HTTPS://gw.example/tenant-a/mcp",
            "authorization_servers": ["https://login.example/"],
            "bearer_methods_supported": ["header"],
            "resource_name": "shop",
            "scopes_supported": ["a", "b"],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn without_an_address_or_an_issuer_there_is_no_metadata() {
        assert_eq!(
            Described { url: Some("https://a.example"), ..Described::default() }
                .protected_resource()
                .metadata,
            None
        );
        let issuers = ["https://login.example".into()];
        assert_eq!(
            Described { issuers: &issuers, ..Described::default() }.protected_resource().metadata,
            None
        );
    }
}
