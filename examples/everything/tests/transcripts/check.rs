//! Reads the server's messages and holds each to the schema of its revision.

use serde_json::Value;
use trunkline_testkit::spec::Spec;

/// What is known of a dialogue so far.
pub(crate) struct Check<'a> {
    /// Id and method of each request so far: its result is checked by the method.
    asked: Vec<(Value, String)>,
    revision: &'a str,
    spec: Option<&'a Spec>,
    pub(crate) faults: Vec<String>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(revision: &'a str, spec: Option<&'a Spec>) -> Self {
        Self { asked: Vec::new(), revision, spec, faults: Vec::new() }
    }

    /// Remembers what the client asks.
    pub(crate) fn asked(&mut self, message: &Value) {
        for one in each(message) {
            if let (Some(id), Some(method)) = (one.get("id"), one.get("method").and_then(Value::as_str)) {
                self.asked.push((id.clone(), method.to_owned()));
            }
        }
    }

    /// Reads a message of the server. What the schema has against it becomes a fault; the dialogue goes on.
    pub(crate) fn message(&mut self, text: &str) -> Result<Value, String> {
        let message: Value = serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?;
        for one in each(&message) {
            let asked = self.asked.iter().rfind(|(id, _)| Some(id) == one.get("id"));
            let method = asked.map_or("", |(_, method)| method.as_str());
            if let Some(Err(fault)) = self.spec.map(|spec| spec.check(self.revision, method, one)) {
                self.faults.push(format!("{fault}\n    in {one}"));
            }
        }
        Ok(message)
    }
}

/// The messages of a batch, or the one.
fn each(message: &Value) -> &[Value] {
    message.as_array().map_or(std::slice::from_ref(message), Vec::as_slice)
}
