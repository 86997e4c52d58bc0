//! Arguments and results against their schemas, from outside.

mod calls;
mod cost;
mod official;
mod results;
