//! The guards from outside, against real files, sockets and processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop with the place it stopped at"
)]

mod authorize;
mod record;
