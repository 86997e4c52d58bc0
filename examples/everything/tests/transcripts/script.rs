//! A transcript as it stands in its file: who says what, in which order, and what is said about it.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::show;

/// A whole file.
#[derive(Debug)]
pub(crate) struct Script {
    /// What the program is started with: the words after `$ everything`.
    pub(crate) arguments: Vec<String>,
    pub(crate) entries: Vec<Entry>,
}

/// One line, or one message with the lines it goes on in.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// `# ...`, an empty line, or `$ everything ...`.
    Text(String),
    /// `== <name> JSON`: a name for something long, used on both sides.
    Name(String, Value),
    /// `>> JSON`: the client says it. A string instead of an object is sent as it is, as a broken line.
    Client(Value),
    /// `>~ JSON`: the client says it again and again, until the server's next message is as written.
    Poll(Value),
    /// `<< JSON`: the server says it next.
    Server(Value),
    /// `<~ JSON`: the server says it, before or after its neighbours that are marked so too.
    AnyOrder(Value),
    // ---- over HTTP ----
    /// `> GET /mcp`, or `> GET /mcp @name` for one that is come back to: method and path of a request, and what it is called.
    Ask(String, Option<String>),
    /// `> name: value`: a header of the request. An empty value leaves out one that is sent anyway.
    Send(String, String),
    /// `>. @name`: the client closes the connection of that request.
    Leave(String),
    /// `@name`: what follows is of the answer to that request.
    On(String),
    /// `< 200`: the answer's status.
    Status(u16),
    /// `< name: value`: a header of the answer; empty when there is none.
    Has(String, String),
    /// `<e {"id": ..., "data": ...}`: an event that has more than a message.
    Event(Value),
    /// `<.`: the answer ends here.
    End,
}

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self { arguments: Vec::new(), entries: Vec::new() };
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let mut whole = line.trim_end().to_owned();
            while let Some((_, more)) = lines.next_if(|(_, line)| line.starts_with("   ")) {
                whole.push_str(more.trim_start());
            }
            let entry = script.entry(&whole).map_err(|fault| format!("line {}: {fault}", number + 1))?;
            script.entries.push(entry);
        }
        if script.arguments.is_empty() {
            return Err("no line `$ everything ...` says what is started".to_owned());
        }
        Ok(script)
    }

    fn entry(&mut self, line: &str) -> Result<Entry, String> {
        let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let json = || serde_json::from_str(rest).map_err(|error| error.to_string());
        match mark {
            ">>" => Ok(Entry::Client(json()?)),
            ">~" => Ok(Entry::Poll(json()?)),
            "<<" => Ok(Entry::Server(json()?)),
            "<~" => Ok(Entry::AnyOrder(json()?)),
            "==" => {
                let (name, value) = rest.trim().split_once(' ').ok_or("`==` needs a name and its value")?;
                Ok(Entry::Name(
                    name.to_owned(),
                    serde_json::from_str(value).map_err(|error| error.to_string())?,
                ))
            }
            "$ " => {
                let words = rest.strip_prefix("everything ").ok_or("only `everything` can be started")?;
                self.arguments = words.split_whitespace().map(str::to_owned).collect();
                Ok(Entry::Text(line.to_owned()))
            }
            "# " | "#" | "" => Ok(Entry::Text(line.to_owned())),
            _ => over_http(mark, rest, line),
        }
    }
}

/// The marks that only a transcript over HTTP has.
fn over_http(mark: &str, rest: &str, line: &str) -> Result<Entry, String> {
    let header = || rest.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let name = |text: &str| text.trim().strip_prefix('@').map(str::to_owned).ok_or("a name begins with `@`");
    match mark {
        "> " if rest.contains(" /") => match rest.split_once(" @") {
            Some((ask, name)) => Ok(Entry::Ask(ask.to_owned(), Some(name.to_owned()))),
            None => Ok(Entry::Ask(rest.to_owned(), None)),
        },
        "> " => header().map(|(name, value)| Entry::Send(name, value)).ok_or("a header has a `:`".to_owned()),
        "< " => match (rest.parse(), header()) {
            (Ok(status), _) => Ok(Entry::Status(status)),
            (_, Some((name, value))) => Ok(Entry::Has(name, value)),
            _ => Err(format!("`{rest}` is neither a status nor a header")),
        },
        ">." => Ok(Entry::Leave(name(rest)?)),
        "<e" => Ok(Entry::Event(serde_json::from_str(rest).map_err(|error| error.to_string())?)),
        "<." => Ok(Entry::End),
        _ if line.starts_with('@') => Ok(Entry::On(name(line)?)),
        _ => Err(format!("no line begins with `{mark}`; the README beside the transcripts has all marks")),
    }
}

impl Display for Script {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            match entry {
                Entry::Text(text) => writeln!(f, "{text}")?,
                Entry::Name(name, value) => writeln!(f, "== {name} {}", show::message(value))?,
                Entry::Client(message) => writeln!(f, ">> {}", show::message(message))?,
                Entry::Poll(message) => writeln!(f, ">~ {}", show::message(message))?,
                Entry::Server(message) => writeln!(f, "<< {}", show::message(message))?,
                Entry::AnyOrder(message) => writeln!(f, "<~ {}", show::message(message))?,
                Entry::Ask(ask, None) => writeln!(f, "> {ask}")?,
                Entry::Ask(ask, Some(name)) => writeln!(f, "> {ask} @{name}")?,
                Entry::Send(name, value) => writeln!(f, "{}", format!("> {name}: {value}").trim_end())?,
                Entry::Leave(name) => writeln!(f, ">. @{name}")?,
                Entry::On(name) => writeln!(f, "@{name}")?,
                Entry::Status(status) => writeln!(f, "< {status}")?,
                Entry::Has(name, value) => writeln!(f, "{}", format!("< {name}: {value}").trim_end())?,
                Entry::Event(event) => writeln!(f, "<e {}", show::message(event))?,
                Entry::End => writeln!(f, "<.")?,
            }
        }
        Ok(())
    }
}

#[test]
fn a_transcript_reads_back_as_it_was_written() {
    let text = "# Says hello.\n$ everything --stdio\n\n== <meta> {\"a\": 1}\n>> {\"id\": 1, \"params\": \"<meta>\"}\n\
                >~ {\"id\": 1}\n<< {\"id\": 1, \"result\": {}}\n<~ {\"method\": \"x\"}\n";
    assert_eq!(Script::parse(text).unwrap().to_string(), text);
    let text = "$ everything --listen 127.0.0.1:0\n> GET /mcp @all\n> accept:\n< 200\n< mcp-session-id: <session>\n\
                <e {\"id\": \"<event>\", \"data\": \"\"}\n>. @all\n@all\n<.\n";
    assert_eq!(Script::parse(text).unwrap().to_string(), text);
    assert!(Script::parse("# nothing is started\n").is_err());
    assert!(Script::parse("$ everything --stdio\n?? what\n").unwrap_err().starts_with("line 2"));
}
