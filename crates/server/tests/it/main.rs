//! The edges against raw bytes: what other servers got wrong, both eras, both transports.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod fixture;
mod http;
mod protocol;
mod raw_http;
mod stdio;
