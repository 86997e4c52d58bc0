//! Reading an event stream: bytes in any portions come in, the data of whole events comes out.
//!
//! Lines end with LF, CRLF or CR, also when CR and LF arrive apart. A byte order mark at the start, comments and events
//! without data vanish; an event that the end of the stream cuts off is discarded. Spec: WHATWG HTML 9.2.6.

/// The stream holds a line or an event beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// The reader of one stream.
#[derive(Debug)]
pub(crate) struct Parser {
    limit: usize,
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    first_line: bool,
}

impl Parser {
    /// Starts at the beginning of a stream whose lines and events are at most `limit` bytes long.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), data: Vec::new(), has_data: false, after_cr: false, first_line: true }
    }

    /// Reads the next portion and appends the data of each event that it completes.
    pub(crate) fn feed(&mut self, mut chunk: &[u8], events: &mut Vec<Vec<u8>>) -> Result<(), TooLarge> {
        while let Some(first) = chunk.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                chunk = chunk.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.extend(chunk);
            };
            let (line, rest) = chunk.split_at(end);
            self.extend(line)?;
            self.after_cr = rest.first() == Some(&b'\r');
            chunk = rest.get(1..).unwrap_or_default();
            self.end_line(events)?;
        }
        Ok(())
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        // A field name and the space after it come on top of the data.
        if self.line.len() + part.len() > self.limit.saturating_add(16) {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) -> Result<(), TooLarge> {
        let line = std::mem::take(&mut self.line);
        let mut text = line.as_slice();
        if std::mem::take(&mut self.first_line) {
            text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        }
        if text.is_empty() {
            self.end_event(events);
        } else {
            self.field(text)?;
        }
        // The allocation of one line serves the next.
        self.line = line;
        self.line.clear();
        Ok(())
    }

    /// Takes `data`; comments, `event`, `id`, `retry` and unknown fields do not matter for answers to one request.
    fn field(&mut self, line: &[u8]) -> Result<(), TooLarge> {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if name != b"data" {
            return Ok(());
        }
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        if self.data.len() + value.len() > self.limit {
            return Err(TooLarge);
        }
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn end_event(&mut self, events: &mut Vec<Vec<u8>>) {
        if std::mem::take(&mut self.has_data) && !self.data.is_empty() {
            events.push(std::mem::take(&mut self.data));
        }
        self.data.clear();
    }
}

#[cfg(test)]
mod tests;
