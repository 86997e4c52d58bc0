//! The client against scripted servers: raw bytes over TCP and shell scripts on pipes.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparation fails")]

mod child;
mod http;
mod peer;
