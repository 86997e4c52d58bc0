//! The one adapter for clients of the handshake era: what `initialize` agreed on becomes part of every request, and what the
//! services say in the terms of 2026-07-28 is said as that era knows it.
//!
//! On stdio the session is the process. Over HTTP it rides with the client, sealed in the session id, so that any node
//! with the same keys can serve it; what changes of it lives in what the nodes share. Spec: 2025-11-25 basic/lifecycle and
//! basic/transports.

mod asking;
mod call;
mod question;
pub(crate) mod replay;
mod session;
mod settings;
mod standing;

pub(crate) use asking::take_answer;
pub(crate) use call::{Call, may_tell};
pub(crate) use session::{Session, UnknownSession, client_name_in};
pub(crate) use standing::Standing;
