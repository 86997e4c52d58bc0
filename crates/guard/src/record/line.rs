//! Writing one line of the record: its members but for number, node and MAC, which the writer's thread adds.
//!
//! Everything in a line is bounded, so that no caller can make it long: what does not fit is cut, and `cut` names the member.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use trunkline_protocol::{Kind, Method, member, write};
use trunkline_service::trace::TraceParent;
use trunkline_service::{Caller, Decided, DeniedKind, HeadInfo, Outcome, Proof, Request};

use super::chain::Mac;
use super::ended::Ended;
use super::names::Names;
use super::{shape, time};

/// The longest issuer, subject, and name of a tool, prompt, key or section, in bytes.
const MAX_NAME: usize = 256;
/// The longest URI.
const MAX_URI: usize = 1024;
/// The most bytes of a list of names: roles, scopes, conditions, URIs of a subscription.
const MAX_LIST: usize = 4096;
/// The most bytes of claims.
const MAX_EVIDENCE: usize = 16 * 1024;

/// The members of a line in the making.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    cut: Vec<&'static str>,
}

fn denied_word(kind: DeniedKind) -> &'static str {
    match kind {
        DeniedKind::Missing => "missing-credentials",
        DeniedKind::Invalid => "invalid-credentials",
        DeniedKind::Malformed => "malformed-credentials",
        DeniedKind::Unavailable => "authentication-unavailable",
        _ => "denied",
    }
}

// ---- Lines of requests ----

impl Line {
    /// Begins the line of a request with all that is known before it runs.
    pub(crate) fn of_request(request: &Request, names: &Names, at: SystemTime) -> Self {
        let mut line = Self::new("call", at, 768);
        line.hex("request", request.log_id());
        line.trace(request.sent_trace());
        line.caller(request.caller());
        line.word("revision", request.revision().as_str());
        line.word("method", request.method().as_str());
        line.target(request);
        line.number("in", request.body().len() as u64);
        line.arguments(request, names);
        line
    }

    /// Ends the line of a request.
    pub(crate) fn finish(
        mut self,
        decided: &Decided,
        ended: Ended,
        outcome: Option<&Outcome>,
        took: Duration,
    ) -> Vec<u8> {
        self.decided(decided);
        self.word("outcome", ended.word());
        self.number("us", u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if let Some(Ok(reply)) = outcome {
            self.number("out", reply.members().len() as u64);
            if let Some(rows) = reply.rows() {
                self.number("rows", u64::from(rows));
            }
        }
        self.into_bytes()
    }

    /// Says which trace the request came with. One of our own is told by the number of the request.
    fn trace(&mut self, sent: Option<TraceParent>) {
        if let Some(sent) = sent {
            self.word("trace", &sent.trace_id().to_string());
        }
    }

    fn caller(&mut self, caller: &Caller) {
        self.key("caller");
        self.bytes.push(b'{');
        if let Some(issuer) = &caller.issuer {
            self.text("issuer", issuer, MAX_NAME);
        }
        self.text("subject", &caller.subject, MAX_NAME);
        match &caller.proof {
            Proof::Local => self.word("by", "local"),
            Proof::Token { section } => {
                self.word("by", "token");
                self.text("section", section, MAX_NAME);
            }
            Proof::Key { id, name } => {
                self.word("by", "key");
                self.text("key", id, MAX_NAME);
                self.text("name", name, MAX_NAME);
            }
            _ => self.word("by", "other"),
        }
        self.bytes.push(b'}');
        self.list("roles", caller.roles.iter().map(|role| &**role));
        self.list("scopes", caller.scopes.iter().map(|scope| &**scope));
        if !caller.evidence.is_empty() {
            match caller.evidence.len() <= MAX_EVIDENCE {
                true => self.raw("evidence", caller.evidence.as_bytes()),
                false => self.cut.push("evidence"),
            }
        }
    }

    /// Says what the request names.
    fn target(&mut self, request: &Request) {
        match request.method() {
            Method::ToolsCall => self.name("tool", request.name().as_deref()),
            Method::PromptsGet => self.name("prompt", request.name().as_deref()),
            Method::CompletionComplete => self.reference(request),
            Method::SubscriptionsListen => self.subscribed(request),
            // Methods of extensions name resources as well.
            _ => {
                if let Some(uri) = request.uri() {
                    self.uri("resource", &uri);
                }
            }
        }
    }

    fn name(&mut self, key: &'static str, name: Option<&str>) {
        if let Some(name) = name {
            self.text(key, name, MAX_NAME);
        }
    }

    fn uri(&mut self, key: &'static str, uri: &str) {
        let [head, tail] = bare(uri);
        match head.is_empty() {
            true => self.text(key, tail, MAX_URI),
            false => self.text(key, &[head, tail].concat(), MAX_URI),
        }
    }

    /// Says what a completion is for.
    fn reference(&mut self, request: &Request) {
        let reference = request.param("ref").raw(request.body());
        let text = |key| member(reference, key).text(reference);
        match text("type").as_deref() {
            Some("ref/prompt") => self.name("prompt", text("name").as_deref()),
            Some("ref/resource") => {
                if let Some(template) = text("uri") {
                    self.text("template", &template, MAX_URI);
                }
            }
            _ => {}
        }
    }

    /// Says which resources a subscription follows.
    fn subscribed(&mut self, request: &Request) {
        let filter = request.param("notifications").raw(request.body());
        let list = member(filter, "resourceSubscriptions");
        if list.kind != Kind::Array {
            return;
        }
        // It was scanned before, and the service refuses what is no list of strings.
        let uris: Vec<String> = serde_json::from_slice(list.raw(filter)).unwrap_or_default();
        let bare: Vec<String> = uris.iter().map(|uri| bare(uri).concat()).collect();
        self.list("resources", bare.iter().map(String::as_str));
    }

    fn arguments(&mut self, request: &Request, names: &Names) {
        let token = request.arguments_token();
        if !token.is_present() {
            return;
        }
        let name = request.name().unwrap_or_default();
        let declared = match request.method() {
            Method::PromptsGet => names.of_prompt(&name),
            _ => names.of_tool(&name),
        };
        self.key("args");
        let unlisted = shape::write(&mut self.bytes, token.raw(request.body()), token.kind, declared);
        if unlisted > 0 {
            self.number("unlisted", u64::from(unlisted));
        }
    }

    fn decided(&mut self, decided: &Decided) {
        if let Some(allowed) = decided.allowed {
            self.raw("allowed", if allowed { b"true" } else { b"false" });
        }
        if !decided.rule.is_empty() {
            self.text("rule", &decided.rule, MAX_NAME);
        }
        if !decided.conditions.is_empty() {
            self.conditions(decided);
        }
        self.list("missing", decided.missing_scopes.iter().map(|scope| &**scope));
    }

    fn conditions(&mut self, decided: &Decided) {
        self.key("conditions");
        self.bytes.push(b'{');
        let from = self.bytes.len();
        for (name, outcome) in &decided.conditions {
            if self.bytes.len() - from > MAX_LIST {
                self.cut.push("conditions");
                break;
            }
            self.string_key(name);
            self.bytes.extend_from_slice(match outcome {
                Some(true) => b"true",
                Some(false) => b"false",
                None => b"null",
            });
        }
        self.bytes.push(b'}');
    }
}

// ---- Other lines ----

impl Line {
    /// Writes the line of a request that was refused at authentication.
    pub(crate) fn of_denied(kind: DeniedKind, head: &HeadInfo<'_>, at: SystemTime) -> Vec<u8> {
        let mut line = Self::new("denied", at, 256);
        line.hex("request", head.log_id);
        line.trace(head.traceparent.and_then(TraceParent::parse));
        line.address(head.address);
        if let Some(method) = head.method {
            line.word("method", Method::parse(method).as_str());
        }
        line.word("outcome", denied_word(kind));
        line.into_bytes()
    }

    /// Writes how many refusals at authentication were only counted.
    pub(crate) fn of_denied_many(count: u64, at: SystemTime) -> Vec<u8> {
        let mut line = Self::new("denied", at, 128);
        line.word("outcome", "not-listed");
        line.number("count", count);
        line.into_bytes()
    }

    /// Writes how many lines found no place in the queue.
    pub(crate) fn of_lost(count: u64, at: SystemTime) -> Vec<u8> {
        let mut line = Self::new("lost", at, 128);
        line.number("count", count);
        line.into_bytes()
    }

    /// Begins a line about the record itself; `prev` is told in the first line of a file.
    pub(crate) fn of_record(kind: &'static str, at: SystemTime, prev: Option<Mac>) -> Self {
        let mut line = Self::new(kind, at, 256);
        if let Some(mac) = prev {
            line.word("prev", &mac.to_string());
        }
        line
    }

    fn address(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address {
            self.word("address", &address.to_string());
        }
    }
}

// ---- Members ----

impl Line {
    fn new(kind: &'static str, at: SystemTime, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(br#""kind":""#);
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(br#"","at":""#);
        time::write(&mut bytes, at);
        bytes.push(b'"');
        Self { bytes, cut: Vec::new() }
    }

    /// Ends the line with the names of what was cut.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        let cut = std::mem::take(&mut self.cut);
        self.list("cut", cut.into_iter());
        self.bytes
    }

    /// Writes a key of ours, with the comma in front where one is needed.
    fn key(&mut self, key: &'static str) {
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(br#"":"#);
    }

    fn string_key(&mut self, key: &str) {
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        write::string(&mut self.bytes, clip(key, MAX_NAME));
        self.bytes.push(b':');
    }

    /// Writes a word that needs no escape.
    pub(crate) fn word(&mut self, key: &'static str, word: &str) {
        self.key(key);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(word.as_bytes());
        self.bytes.push(b'"');
    }

    /// Writes a text of others, at most `most` bytes of it.
    fn text(&mut self, key: &'static str, text: &str, most: usize) {
        self.key(key);
        let clipped = clip(text, most);
        write::string(&mut self.bytes, clipped);
        if clipped.len() < text.len() {
            self.cut.push(key);
        }
    }

    pub(crate) fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        decimal(&mut self.bytes, number);
    }

    fn hex(&mut self, key: &'static str, number: u64) {
        self.word(key, &format!("{number:016x}"));
    }

    /// Writes JSON as it is.
    pub(crate) fn raw(&mut self, key: &'static str, json: &[u8]) {
        self.key(key);
        let from = self.bytes.len();
        self.bytes.extend_from_slice(json);
        if write::has_line_break(json) {
            let mut tail = self.bytes.split_off(from);
            write::without_line_breaks(&mut tail);
            self.bytes.append(&mut tail);
        }
    }

    /// Writes a list of texts, unless it is empty.
    fn list<'a>(&mut self, key: &'static str, texts: impl Iterator<Item = &'a str>) {
        let mut texts = texts.peekable();
        if texts.peek().is_none() {
            return;
        }
        self.key(key);
        self.bytes.push(b'[');
        let from = self.bytes.len();
        for text in texts {
            let clipped = clip(text, MAX_URI);
            if self.bytes.len() - from + clipped.len() > MAX_LIST || clipped.len() < text.len() {
                self.cut.push(key);
                break;
            }
            if self.bytes.len() > from {
                self.bytes.push(b',');
            }
            write::string(&mut self.bytes, clipped);
        }
        self.bytes.push(b']');
    }
}

/// Appends a number.
pub(crate) fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Returns at most `most` bytes of a text, whole characters.
fn clip(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// Returns a URI in two parts without its query, fragment and user information, any of which may hold a secret.
fn bare(uri: &str) -> [&str; 2] {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = uri.split_once("://") else { return ["", uri] };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => {
            let head = uri.get(..scheme.len() + 3).unwrap_or_default();
            [head, rest.get(user.len() + 1..).unwrap_or_default()]
        }
        None => ["", uri],
    }
}

#[cfg(test)]
mod tests;
