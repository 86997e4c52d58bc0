//! Who may do what, over a real router and catalog.

mod calls;
mod problems;
mod property;
mod replays;
mod scale;
mod streams;
pub(crate) mod world;
