//! The guards against real peers: servers of keys and answers in this process, real signatures, real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod authenticate;
