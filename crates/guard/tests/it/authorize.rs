//! Who may do what, over a real router and catalog.

mod calls;
mod world;
