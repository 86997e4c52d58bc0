//! The edges against raw bytes: what other servers got wrong, both eras, both transports.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod counts;
mod door;
mod embedded;
mod fixture;
mod headers;
mod http;
mod identity;
mod large;
mod legacy_asking;
mod legacy_calls;
mod legacy_streams;
mod listen;
mod protocol;
mod raw_http;
mod rich;
mod settings;
mod stdio;
