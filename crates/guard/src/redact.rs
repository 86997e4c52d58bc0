//! What leaves with a result: bounded in size, without what its reader must not see.

pub mod age;
pub mod detect;
pub mod path;
