//! Private servers for tests: started on free ports, in temporary folders, ended with the test.
//!
//! Tests are the only readers, so a server that cannot be started panics with the server's own words.

pub mod postgres;
pub mod spec;
