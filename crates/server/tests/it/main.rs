//! The edges against raw bytes: what other servers got wrong, both eras, both transports.

mod fixture;
mod hostile;
mod http;
mod protocol;
mod raw_http;
mod stdio;
