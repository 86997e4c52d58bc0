//! Plays the client's side of a transcript against the program, and holds the server to its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use trunkline_testkit::spec::Spec;

use crate::check::Check;
use crate::pattern::Names;
use crate::script::{Entry, Script};

/// How long an expected message may take.
pub(crate) const LATEST: Duration = Duration::from_secs(10);
/// While a transcript is written: silence of this length means that the server has said all.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// A server and what is known of the dialogue with it.
pub(crate) struct Player<'a> {
    server: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
    names: Names,
    check: Check<'a>,
}

impl<'a> Player<'a> {
    pub(crate) fn start(arguments: &[String], revision: &'a str, spec: Option<&'a Spec>) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_everything"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = server.stdin.take();
        let output = BufReader::new(server.stdout.take().unwrap());
        let (tell, said) = sync_channel(10_000);
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { server, input, said, names: Names::default(), check: Check::new(revision, spec) }
    }

    /// Plays to the end and returns what was wrong; `update` writes what the server said into the script instead.
    pub(crate) fn play(mut self, script: &mut Script, update: bool) -> Vec<String> {
        let result = if update { self.rewrite(script) } else { self.compare(&script.entries) };
        if let Err(fault) = result {
            self.check.faults.push(fault);
            let _ = self.server.kill();
        }
        self.finish();
        self.check.faults
    }

    fn compare(&mut self, entries: &[Entry]) -> Result<(), String> {
        let mut entries = entries.iter().peekable();
        while let Some(entry) = entries.next() {
            match entry {
                Entry::Server(expected) => {
                    let found = self.hear()?;
                    self.names
                        .matches(expected, &found)
                        .map_err(|fault| format!("{fault}\n    in {found}"))?;
                }
                Entry::AnyOrder(expected) => {
                    let mut open = vec![expected];
                    while let Some(Entry::AnyOrder(expected)) =
                        entries.next_if(|next| matches!(next, Entry::AnyOrder(_)))
                    {
                        open.push(expected);
                    }
                    self.hear_all(open)?;
                }
                Entry::Poll(question) => {
                    let expected = match entries.next() {
                        Some(Entry::Server(expected)) => expected,
                        other => return Err(format!("`>~` needs a `<<` after it, not {other:?}")),
                    };
                    self.poll(question, expected)?;
                }
                other => self.say(other)?,
            }
        }
        Ok(())
    }

    /// Asks until the answer is as expected, and returns it; in the end, what was said instead.
    fn poll(&mut self, question: &Value, expected: &Value) -> Result<Value, String> {
        let begin = Instant::now();
        loop {
            self.say(&Entry::Client(question.clone()))?;
            let found = self.hear()?;
            match self.names.matches(expected, &found) {
                Ok(()) => return Ok(found),
                Err(fault) if begin.elapsed() > LATEST => return Err(format!("{fault}\n    in {found}")),
                Err(_) => self.rest()?,
            }
        }
    }

    /// Hears as many messages as are open, each of which must be one of them.
    fn hear_all(&mut self, mut open: Vec<&Value>) -> Result<(), String> {
        while !open.is_empty() {
            let found = self.hear()?;
            let fits = open.iter().position(|expected| self.names.matches(expected, &found).is_ok());
            open.remove(
                fits.ok_or_else(|| format!("none of the {} messages expected here is {found}", open.len()))?,
            );
        }
        Ok(())
    }

    /// Lets a moment pass between two questions; nobody says anything then.
    fn rest(&mut self) -> Result<(), String> {
        match self.said.recv_timeout(Duration::from_millis(50)) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err("the server ended".to_owned()),
            Ok(line) => Err(format!("the server says without being asked: {line}")),
        }
    }

    /// The client's part of an entry.
    fn say(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Client(message) => {
                let filled = self.names.filled(message)?;
                self.check.asked(&filled);
                let line = filled.as_str().map_or_else(|| filled.to_string(), str::to_owned);
                let input = self.input.as_mut().ok_or("the server's input is closed")?;
                writeln!(input, "{line}").map_err(|error| format!("the server does not listen: {error}"))
            }
            Entry::Name(name, value) => {
                self.names.give(name, value.clone());
                Ok(())
            }
            Entry::Text(_) | Entry::Server(_) | Entry::AnyOrder(_) | Entry::Poll(_) => Ok(()),
            other => Err(format!("{other:?} is of HTTP; such a file is called `http-*.txt`")),
        }
    }

    /// The next message of the server, checked against the schema.
    fn hear(&mut self) -> Result<Value, String> {
        match self.said.recv_timeout(LATEST) {
            Ok(line) => self.check.message(&line),
            Err(RecvTimeoutError::Timeout) => Err(format!("the server says nothing for {LATEST:?}")),
            Err(RecvTimeoutError::Disconnected) => Err("the server ended".to_owned()),
        }
    }

    /// Closes the server's input; it must end well and say nothing more.
    fn finish(&mut self) {
        drop(self.input.take());
        while let Ok(line) = self.said.recv_timeout(LATEST) {
            if self.check.faults.is_empty() {
                self.check.faults.push(format!("the server says more than is written: {line}"));
            }
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
            if let Entry::Poll(question) = entry {
                let expected = match rest.split_first() {
                    Some((Entry::Server(expected), after)) => {
                        rest = after;
                        expected
                    }
                    _ => return Err("write behind `>~` what it waits for".to_owned()),
                };
                let found = self.poll(question, expected)?;
                script.entries.push(Entry::Server(self.names.named(&found, Some(expected), "")));
                continue;
            }
            if !matches!(entry, Entry::Client(_)) {
                continue;
            }
            let end = rest.iter().position(|entry| !is_server(entry)).unwrap_or(rest.len());
            let (before, after) = rest.split_at(end);
            rest = after;
            // What comes of several lines sent in one go is heard after the last of them.
            if !matches!(rest.first(), Some(Entry::Client(_))) || !before.is_empty() {
                let must_answer = is_request(entry) && !matches!(rest.first(), Some(Entry::Poll(_)));
                self.hear_and_write(script, before, if must_answer { LATEST } else { SILENCE })?;
            }
        }
        Ok(())
    }

    /// Hears until there is silence; what comes first may take `first`.
    fn hear_and_write(
        &mut self,
        script: &mut Script,
        before: &[Entry],
        first: Duration,
    ) -> Result<(), String> {
        let mut heard = Vec::new();
        loop {
            match self.said.recv_timeout(if heard.is_empty() { first } else { SILENCE }) {
                Ok(line) => heard.push(self.check.message(&line)?),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err("the server ended".to_owned()),
            }
        }
        // Changes come by a way of their own, beside the answers.
        let unordered = heard.len() > 1 && heard.iter().any(is_change)
            || before.iter().any(|entry| matches!(entry, Entry::AnyOrder(_)));
        if unordered {
            heard.sort_by_key(|message| !is_change(message));
        }
        for (index, message) in heard.iter().enumerate() {
            let before = match before.get(index) {
                Some(Entry::Server(before) | Entry::AnyOrder(before)) => Some(before),
                _ => None,
            };
            let named = self.names.named(message, before, "");
            script.entries.push(if unordered { Entry::AnyOrder(named) } else { Entry::Server(named) });
        }
        Ok(())
    }
}

/// Whether an answer must follow.
fn is_request(entry: &Entry) -> bool {
    match entry {
        Entry::Client(message) if message.is_object() => {
            message.get("id").is_some() && message.get("method").is_some()
        }
        Entry::Client(_) => true,
        _ => false,
    }
}

fn is_server(entry: &Entry) -> bool {
    matches!(entry, Entry::Server(_) | Entry::AnyOrder(_))
}

fn is_change(message: &Value) -> bool {
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    method == "notifications/resources/updated" || method.ends_with("/list_changed")
}
