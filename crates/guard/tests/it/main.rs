//! The guards over real routers and catalogs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end where something is not as it should be"
)]

mod authorize;
