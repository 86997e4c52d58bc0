//! Plays a transcript over HTTP: each request on a connection of its own, answers that stay open beside others.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};
use trunkline_testkit::spec::Spec;

use crate::check::Check;
use crate::exchange::{Exchange, Heard};
use crate::pattern::Names;
use crate::player::{LATEST, SILENCE};
use crate::script::{Entry, Script};

/// Sent with every request that does not say otherwise.
const USUAL: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
/// Of an answer, what is written down unless the transcript asks for others.
const TELLING: [&str; 2] = ["content-type", "mcp-session-id"];

/// A server and what is known of the dialogue with it.
pub(crate) struct HttpPlayer<'a> {
    server: Child,
    address: String,
    names: Names,
    check: Check<'a>,
    /// A request whose lines are being read.
    draft: Option<Draft>,
    /// By name; the one without a name is asked and answered before the next.
    exchanges: BTreeMap<String, Exchange>,
    /// Which of them the server's lines are of.
    current: String,
}

#[derive(Debug)]
struct Draft {
    line: String,
    name: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl<'a> HttpPlayer<'a> {
    pub(crate) fn start(arguments: &[String], revision: &'a str, spec: Option<&'a Spec>) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_everything"))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = log.find_map(|line| {
            let (_, behind) = line.split_once("http://")?;
            behind.split_once("/mcp").map(|(address, _)| address.to_owned())
        });
        // Or the server would wait for somebody to read its log.
        thread::spawn(move || log.for_each(drop));
        let (names, draft, exchanges, current) = Default::default();
        let check = Check::new(revision, spec);
        Self { server, address: address.unwrap(), names, check, draft, exchanges, current }
    }

    /// Plays to the end and returns what was wrong; `update` writes what the server said into the script instead.
    pub(crate) fn play(mut self, script: &mut Script, update: bool) -> Vec<String> {
        let result = if update { self.rewrite(script) } else { self.compare(&script.entries) };
        if let Err(fault) = result {
            self.check.faults.push(fault);
        }
        self.finish();
        self.check.faults
    }

    fn compare(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            self.say(entry)?;
            self.expect(entry).map_err(|fault| format!("{fault}\n    at {entry:?}"))?;
        }
        self.send()?;
        self.ended()?;
        self.exchanges.iter().try_for_each(|(name, open)| silent(name, open))
    }

    // ---- the client's side ----

    fn say(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Ask(line, name) => {
                self.send()?;
                self.ended()?;
                let usual = USUAL.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let headers = usual.into_iter().skip(usize::from(!line.starts_with("POST"))).collect();
                let (line, name) = (line.clone(), name.clone().unwrap_or_default());
                self.draft = Some(Draft { line, name, headers, body: None });
            }
            Entry::Send(name, value) => {
                let value = self.filled(value)?;
                let draft = self.draft.as_mut().ok_or("a header stands behind the line of its request")?;
                draft
                    .headers
                    .retain(|(known, _)| known != name || !USUAL.iter().any(|(usual, _)| usual == name));
                if !value.is_empty() {
                    draft.headers.push((name.clone(), value));
                }
            }
            Entry::Client(message) => {
                let filled = self.names.filled(message)?;
                self.check.asked(&filled);
                let draft = self.draft.as_mut().ok_or("a body stands behind the line of its request")?;
                draft.body = Some(filled.as_str().map_or_else(|| filled.to_string(), str::to_owned));
            }
            Entry::Name(name, value) => self.names.give(name, value.clone()),
            Entry::Leave(name) => {
                self.send()?;
                let left = self.exchanges.remove(name).ok_or_else(|| format!("`@{name}` is not open"))?;
                return silent(name, &left);
            }
            Entry::On(name) => {
                self.send()?;
                self.ended()?;
                self.current.clone_from(name);
            }
            Entry::Status(_) | Entry::End | Entry::Server(_) | Entry::Event(_) => self.send()?,
            Entry::Text(_) | Entry::Has(..) => {}
            Entry::AnyOrder(_) | Entry::Poll(_) => return Err(format!("{entry:?} is of stdio")),
        }
        Ok(())
    }

    fn filled(&self, text: &str) -> Result<String, String> {
        let filled = self.names.filled(&Value::from(text))?;
        Ok(filled.as_str().map_or_else(|| filled.to_string(), str::to_owned))
    }

    /// Sends the request that was read so far, if there is one.
    fn send(&mut self) -> Result<(), String> {
        let Some(Draft { line, name, headers, body }) = self.draft.take() else { return Ok(()) };
        let exchange = Exchange::send(&self.address, &line, &headers, body.as_deref())
            .map_err(|error| format!("the server does not listen: {error}"))?;
        self.current.clone_from(&name);
        self.exchanges.insert(name, exchange);
        Ok(())
    }

    /// Waits for the end of an answer that has no name to come back to.
    fn ended(&mut self) -> Result<(), String> {
        if !self.exchanges.contains_key("") {
            return Ok(());
        }
        self.current.clear();
        match self.hear(LATEST)? {
            Some(Heard::End) => {
                self.exchanges.remove("");
                Ok(())
            }
            other => Err(format!("the answer goes on: {other:?}")),
        }
    }

    // ---- the server's side ----

    /// What comes next of the current answer; `None` when nothing does for that long.
    fn hear(&mut self, wait: Duration) -> Result<Option<Heard>, String> {
        let name = &self.current;
        let exchange = self.exchanges.get(name).ok_or_else(|| format!("`@{name}` is not open"))?;
        match exchange.heard.recv_timeout(wait) {
            Ok(heard) => Ok(Some(heard)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("the connection broke".to_owned()),
        }
    }

    fn expect(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Status(expected) => match self.hear(LATEST)? {
                Some(Heard::Head(status, headers)) => {
                    if let Some(exchange) = self.exchanges.get_mut(&self.current) {
                        exchange.headers = headers;
                    }
                    if status == *expected { Ok(()) } else { Err(format!("the status is {status}")) }
                }
                other => Err(format!("not the beginning of an answer: {other:?}")),
            },
            Entry::Has(name, expected) => {
                let found = self.header(name).unwrap_or_default();
                self.names.matches(&Value::from(expected.as_str()), &Value::from(found))
            }
            Entry::Server(expected) | Entry::Event(expected) => {
                let heard = self.hear(LATEST)?.ok_or_else(|| format!("nothing comes for {LATEST:?}"))?;
                let (found, is_event) = self.read(heard)?;
                if is_event != matches!(entry, Entry::Event(_)) {
                    return Err(format!("it is marked as the other kind: {found}"));
                }
                self.names.matches(expected, &found).map_err(|fault| format!("{fault}\n    in {found}"))
            }
            Entry::End => match self.hear(LATEST)? {
                Some(Heard::End) => {
                    self.exchanges.remove(&self.current);
                    Ok(())
                }
                other => Err(format!("the answer goes on: {other:?}")),
            },
            _ => Ok(()),
        }
    }

    fn header(&self, wanted: &str) -> Option<String> {
        let headers = &self.exchanges.get(&self.current)?.headers;
        headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    }

    /// The message, or the event that has more than one, and which of the two it is.
    fn read(&mut self, heard: Heard) -> Result<(Value, bool), String> {
        match heard {
            Heard::Body(text) => Ok((self.check.message(&text)?, false)),
            Heard::Event(mut event) => {
                let data = match event.get("data").and_then(Value::as_str) {
                    Some(text) if !text.is_empty() => self.check.message(text)?,
                    other => Value::from(other.unwrap_or_default()),
                };
                // What kind of event it is, is the same for all.
                let plain = event.keys().all(|field| field == "data" || field == "event");
                if plain && data.is_object() {
                    return Ok((data, false));
                }
                event.insert("data".to_owned(), data);
                Ok((Value::Object(event), true))
            }
            other => Err(format!("a message is expected and not {other:?}")),
        }
    }

    /// Ends the server, which must close what is still open and end well.
    fn finish(&mut self) {
        let asked = Command::new("kill").arg(self.server.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.server.kill();
        }
        match self.server.wait() {
            Ok(status) if status.success() || !self.check.faults.is_empty() => {}
            ended => self.check.faults.push(format!("the server ended with {ended:?}")),
        }
    }

    // ---- writing ----

    fn rewrite(&mut self, script: &mut Script) -> Result<(), String> {
        let old = std::mem::take(&mut script.entries);
        let mut rest = old.as_slice();
        while let Some((entry, after)) = rest.split_first() {
            rest = after;
            self.say(entry)?;
            script.entries.push(entry.clone());
            let is_head = matches!(entry, Entry::Ask(..) | Entry::Send(..) | Entry::Client(_));
            let goes_on = matches!(rest.first(), Some(Entry::Send(..) | Entry::Client(_)));
            if goes_on || !is_head && !matches!(entry, Entry::On(_)) {
                continue;
            }
            self.send()?;
            let end = rest.iter().position(|entry| !is_answer(entry)).unwrap_or(rest.len());
            let (before, after) = rest.split_at(end);
            rest = after;
            self.hear_and_write(script, before)?;
        }
        Ok(())
    }

    fn hear_and_write(&mut self, script: &mut Script, before: &[Entry]) -> Result<(), String> {
        let mut messages = before.iter().filter_map(|entry| match entry {
            Entry::Server(message) | Entry::Event(message) => Some(message),
            _ => None,
        });
        let mut wait = LATEST;
        while let Some(heard) = self.hear(wait)? {
            match heard {
                Heard::Head(status, headers) => {
                    if let Some(exchange) = self.exchanges.get_mut(&self.current) {
                        exchange.headers = headers;
                    }
                    script.entries.push(Entry::Status(status));
                    self.write_headers(script, before);
                }
                Heard::End => {
                    self.exchanges.remove(&self.current);
                    if !self.current.is_empty() {
                        script.entries.push(Entry::End);
                    }
                    return Ok(());
                }
                heard => {
                    let (found, is_event) = self.read(heard)?;
                    let named = self.named(found, messages.next(), is_event);
                    script.entries.push(if is_event { Entry::Event(named) } else { Entry::Server(named) });
                }
            }
            // What has a name is come back to.
            wait = if self.current.is_empty() { LATEST } else { SILENCE };
        }
        Ok(())
    }

    fn write_headers(&mut self, script: &mut Script, before: &[Entry]) {
        let mut wanted: Vec<(&str, Option<&str>)> = TELLING.iter().map(|name| (*name, None)).collect();
        for entry in before {
            if let Entry::Has(name, value) = entry {
                wanted.retain(|(known, _)| known != name);
                wanted.push((name, Some(value)));
            }
        }
        for (name, before) in wanted {
            let Some(found) = self.header(name) else {
                if before.is_some() {
                    script.entries.push(Entry::Has(name.to_owned(), String::new()));
                }
                continue;
            };
            let before = before.map(Value::from);
            let named = self.names.named(&Value::from(found), before.as_ref(), name);
            script.entries.push(Entry::Has(name.to_owned(), named.as_str().unwrap_or_default().to_owned()));
        }
    }

    fn named(&mut self, found: Value, before: Option<&Value>, is_event: bool) -> Value {
        match found {
            Value::Object(fields) if is_event => {
                let named = fields.into_iter().map(|(field, value)| {
                    let before = before.and_then(|before| before.get(&field));
                    let key = if field == "id" { "event" } else { "" };
                    let named = self.names.named(&value, before, key);
                    (field, named)
                });
                Value::Object(named.collect::<Map<_, _>>())
            }
            message => self.names.named(&message, before, ""),
        }
    }
}

/// Nothing may have come on an answer beside what was heard.
fn silent(name: &str, exchange: &Exchange) -> Result<(), String> {
    match exchange.heard.try_recv() {
        Ok(more) => Err(format!("`@{name}` says more than is written: {more:?}")),
        Err(_) => Ok(()),
    }
}

fn is_answer(entry: &Entry) -> bool {
    matches!(entry, Entry::Status(_) | Entry::Has(..) | Entry::Server(_) | Entry::Event(_) | Entry::End)
}
