//! The store against a real Redis: killed, frozen, emptied, failed over; and against servers that are none.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: what is not as it should be ends the test"
)]

mod hostile;
mod outage;
mod shared;
mod shared_outage;
mod store;
mod support;
