//! The Model Context Protocol as bytes: classification, header rules, codes and revisions, without any I/O.
//!
//! Nothing here opens a socket, reads a clock, draws a random number or starts a task. Bytes come in, spans, names and
//! bytes go out. Payloads are never built into trees: [`scan`] walks a message once and remembers where its parts are.

pub mod code;
pub mod decimal;
pub mod envelope;
pub mod header;
pub mod json;
mod level;
mod member;
pub mod meta;
pub mod method;
pub mod param_header;
pub mod revision;
mod token;
pub mod uri_template;
pub mod write;

pub use code::Code;
pub use envelope::{Envelope, Message, Refusal, scan};
pub use json::{Kind, Span, Token};
pub use level::LogLevel;
pub use member::{each, member, member_at};
pub use method::Method;
pub use revision::Revision;
