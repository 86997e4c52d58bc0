//! The guards from outside, against real servers, keys, files, sockets and processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop with the place it stopped at"
)]

mod authenticate;
mod authorize;
mod cache;
mod limit;
mod record;
mod validate;
