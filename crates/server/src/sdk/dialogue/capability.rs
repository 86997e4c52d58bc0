//! What the client of one request declared that it can be asked for.

use serde_json::{Map, Value, json};
use trunkline_service::{Failure, Request};

use crate::sdk::task::EXTENSION;

/// The declared capabilities that decide what may be asked, read once per call that asks.
///
/// Spec: 2026-07-28 schema#clientcapabilities
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    elicitation: bool,
    form: bool,
    url: bool,
    sampling: bool,
    sampling_tools: bool,
    roots: bool,
    tasks: bool,
}

/// What a question needs of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Elicitation by a form.
    Form,
    /// Elicitation by opening an address.
    Url,
    /// Sampling.
    Sampling,
    /// Sampling with tools.
    SamplingTools,
    /// The list of roots.
    Roots,
    /// The extension `io.modelcontextprotocol/tasks`.
    Tasks,
}

impl Capabilities {
    /// Reads what the request, or its session, declares. Nothing readable is nothing declared.
    pub(crate) fn of(request: &Request) -> Self {
        let declared: Map<String, Value> =
            serde_json::from_slice(request.client_capabilities()).unwrap_or_default();
        let object = |name: &str| declared.get(name).and_then(Value::as_object);
        let elicitation = object("elicitation");
        let has = |of: Option<&Map<String, Value>>, name: &str| {
            of.and_then(|of| of.get(name)).is_some_and(Value::is_object)
        };
        let url = has(elicitation, "url");
        Self {
            elicitation: elicitation.is_some(),
            // An object that names no mode means the form, the only one there was before.
            form: has(elicitation, "form") || (elicitation.is_some() && !url),
            url,
            sampling: object("sampling").is_some(),
            sampling_tools: has(object("sampling"), "tools"),
            roots: object("roots").is_some(),
            // Older revisions have tasks of their own, which this extension does not stand for.
            tasks: request.revision().is_modern() && has(object("extensions"), EXTENSION),
        }
    }

    /// Tells whether the client can be asked for it.
    pub(crate) fn has(self, need: Need) -> bool {
        match need {
            Need::Form => self.form,
            Need::Url => self.url,
            Need::Sampling => self.sampling,
            Need::SamplingTools => self.sampling_tools,
            Need::Roots => self.roots,
            Need::Tasks => self.tasks,
        }
    }

    /// Refuses a request of a client that cannot be asked, naming exactly the part that is missing.
    pub(crate) fn demand(self, need: Need) -> Result<(), Failure> {
        if self.has(need) { Ok(()) } else { Err(Failure::missing_capability(&self.missing(need))) }
    }

    fn missing(self, need: Need) -> Value {
        match need {
            Need::Form if self.elicitation => json!({ "elicitation": { "form": {} } }),
            Need::Form => json!({ "elicitation": {} }),
            Need::Url => json!({ "elicitation": { "url": {} } }),
            Need::Sampling => json!({ "sampling": {} }),
            Need::SamplingTools => json!({ "sampling": { "tools": {} } }),
            Need::Roots => json!({ "roots": {} }),
            Need::Tasks => json!({ "extensions": { EXTENSION: {} } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use trunkline_protocol::{Method, Revision, scan};
    use trunkline_service::Caller;

    fn declared(capabilities: &str, revision: Revision) -> Capabilities {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"_meta":{{"io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}}}"#
        );
        let body = Bytes::from(body);
        let (_, envelope) = scan(&body).unwrap();
        Capabilities::of(&Request::new(body, &envelope, Method::ToolsCall, revision, Caller::local(), 0))
    }

    fn missing(capabilities: &str, need: Need) -> String {
        let failure = declared(capabilities, Revision::LATEST).demand(need).unwrap_err();
        String::from_utf8(failure.data().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn an_empty_elicitation_object_means_the_form_alone() {
        let none = declared(r#"{"elicitation":{}}"#, Revision::LATEST);
        assert!(none.has(Need::Form) && !none.has(Need::Url));
        let url = declared(r#"{"elicitation":{"url":{}}}"#, Revision::LATEST);
        assert!(!url.has(Need::Form) && url.has(Need::Url));
        let both = declared(
            r#"{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}"#,
            Revision::LATEST,
        );
        assert!(both.has(Need::Form) && both.has(Need::Url) && both.has(Need::Roots));
        assert_eq!(
            declared(r#"{"elicitation":true,"sampling":null}"#, Revision::LATEST),
            Capabilities::default()
        );
        assert_eq!(declared("7", Revision::LATEST), Capabilities::default());
    }

    #[test]
    fn a_refusal_names_exactly_what_is_missing() {
        let cases = [
            ("{}", Need::Form, r#"{"elicitation":{}}"#),
            (r#"{"elicitation":{"url":{}}}"#, Need::Form, r#"{"elicitation":{"form":{}}}"#),
            (r#"{"elicitation":{}}"#, Need::Url, r#"{"elicitation":{"url":{}}}"#),
            ("{}", Need::Sampling, r#"{"sampling":{}}"#),
            (r#"{"sampling":{}}"#, Need::SamplingTools, r#"{"sampling":{"tools":{}}}"#),
            ("{}", Need::Roots, r#"{"roots":{}}"#),
            ("{}", Need::Tasks, r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
        ];
        for (capabilities, need, expected) in cases {
            assert_eq!(missing(capabilities, need), format!(r#"{{"requiredCapabilities":{expected}}}"#));
        }
    }

    #[test]
    fn the_tasks_extension_counts_only_in_the_revision_that_has_it() {
        let tasks = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        assert!(declared(tasks, Revision::LATEST).has(Need::Tasks));
        assert!(!declared(tasks, Revision::V2025_11_25).has(Need::Tasks));
    }
}
