//! One HTTP request on a connection of its own, and its answer as it comes in. Written by hand, so that nothing between the
//! transcript and the wire is lenient.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde_json::{Map, Value};

/// What an answer consists of, in this order.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Status and headers, the names in lower case.
    Head(u16, Vec<(String, String)>),
    /// The whole body of an answer that is no stream of events.
    Body(String),
    /// One event, with the fields it has; `data` is text.
    Event(Map<String, Value>),
    /// The server ended the answer.
    End,
}

/// A request that was sent. Dropping it closes its connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: TcpStream,
    pub(crate) heard: Receiver<Heard>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Exchange {
    /// Sends a request: `line` is method and path.
    pub(crate) fn send(
        address: &str,
        line: &str,
        headers: &[(String, String)],
        body: Option<&str>,
    ) -> io::Result<Self> {
        let mut connection = TcpStream::connect(address)?;
        let mut text = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        } else {
            text += "\r\n";
        }
        connection.write_all(text.as_bytes())?;
        let (tell, heard) = sync_channel(10_000);
        let answer = BufReader::new(connection.try_clone()?);
        thread::spawn(move || {
            // A connection that breaks shows as an answer without its end.
            let _ = listen(answer, &tell);
        });
        Ok(Self { connection, heard, headers: Vec::new() })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

fn listen(mut answer: BufReader<TcpStream>, tell: &SyncSender<Heard>) -> io::Result<()> {
    let (status, headers) = head(&mut answer)?;
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let chunked = header("transfer-encoding").is_some_and(|value| value == "chunked");
    let length = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let is_stream = header("content-type").is_some_and(|value| value.starts_with("text/event-stream"));
    let told = tell.send(Heard::Head(status, headers));
    let mut body: Box<dyn BufRead> = if chunked {
        Box::new(BufReader::new(Chunks { answer, left: 0, ended: false }))
    } else {
        Box::new(answer.take(length))
    };
    if told.is_err() || is_stream && events(&mut body, tell)? {
        return Ok(());
    }
    let mut text = String::new();
    body.read_to_string(&mut text)?;
    if !text.is_empty() && tell.send(Heard::Body(text)).is_err() {
        return Ok(());
    }
    // Nobody may listen any more, which is how a test ends.
    let _ = tell.send(Heard::End);
    Ok(())
}

fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut text = String::new();
    let some = from.read_line(&mut text)? > 0;
    Ok(some.then(|| text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn head(answer: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let first = line(answer)?.ok_or_else(ended)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut headers = Vec::new();
    loop {
        match line(answer)?.ok_or_else(ended)? {
            blank if blank.is_empty() => return Ok((status.ok_or_else(ended)?, headers)),
            other => headers.extend(
                other
                    .split_once(':')
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())),
            ),
        }
    }
}

/// Tells each event; `true` when nobody listens any more. Comments are left out: how often they come is a matter of time.
fn events(body: &mut impl BufRead, tell: &SyncSender<Heard>) -> io::Result<bool> {
    let mut event = Map::new();
    while let Some(text) = line(body)? {
        if text.is_empty() {
            if !event.is_empty() && tell.send(Heard::Event(std::mem::take(&mut event))).is_err() {
                return Ok(true);
            }
            continue;
        }
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "retry" => {
                event.insert(field.to_owned(), value.parse::<u64>().unwrap_or_default().into());
            }
            _ => {
                event.insert(field.to_owned(), value.into());
            }
        }
    }
    Ok(false)
}

/// The body behind `transfer-encoding: chunked`.
struct Chunks {
    answer: BufReader<TcpStream>,
    left: usize,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 && !self.ended {
            let size = line(&mut self.answer)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            // Each chunk ends with an empty line, which stands before the size of the next one.
            if size.is_empty() {
                continue;
            }
            self.left = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            self.ended = self.left == 0;
        }
        let fits = self.left.min(buffer.len());
        let count = self.answer.read(buffer.get_mut(..fits).unwrap_or_default())?;
        if count == 0 && fits > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(count)
    }
}
