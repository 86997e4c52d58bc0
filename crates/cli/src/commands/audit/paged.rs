//! Pages that come from a task, read as one stream on a thread that may block.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

/// The pages that are received, one after the other.
#[derive(Debug)]
pub(super) struct Paged {
    pages: mpsc::Receiver<Vec<u8>>,
    page: Vec<u8>,
    at: usize,
}

impl Paged {
    /// Reads until the sender is gone.
    pub(super) fn new(pages: mpsc::Receiver<Vec<u8>>) -> Self {
        Self { pages, page: Vec::new(), at: 0 }
    }
}

impl BufRead for Paged {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.page.len() {
            match self.pages.blocking_recv() {
                Some(page) => (self.page, self.at) = (page, 0),
                None => return Ok(&[]),
            }
        }
        Ok(self.page.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Paged {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
