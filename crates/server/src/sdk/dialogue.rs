//! How a running tool, prompt or resource asks its client, in rounds that read like one function.
//!
//! A server cannot call its client. A question ends the request with `input_required`, the client sends the request again with
//! the answer, and the function **runs again from its start**: questions that were answered return at once, steps
//! ([`Context::step`]) return what they came to the first time, and the function gets a question further. What it asks must
//! depend on its arguments, the answers and its steps alone; a function that asks something else when it runs again fails.
//! What is remembered travels with the client, sealed and bound to caller and request; no node keeps anything. So a client may
//! send the same answer twice, and what comes after the last question then happens twice: make that part idempotent where it
//! matters.
//! Questions asked at the same time (`join!`) go out in one round; each should be the first thing its branch waits for, or
//! come after steps only. In a task ([`Context::become_task`]) the function runs once, and questions wait in its record.
//!
//! ```
//! use trunkline_server::sdk::{Context, DynTool, ToolError};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Trip {
//!     /// Where to.
//!     city: String,
//!     #[schemars(range(min = 1, max = 30))]
//!     nights: u32,
//! }
//!
//! async fn price() -> u32 {
//!     120
//! }
//!
//! let book = DynTool::new("book").description("Books a trip.").handler(|ctx: Context| async move {
//!     // Once, in the first round. Without the step the price of the second round could be another, and so the question.
//!     let price = ctx.step("price", price()).await;
//!     let trip = ctx.elicit::<Trip>(format!("{price} a night. Where to?")).await.accepted()?;
//!     Ok::<_, ToolError>(format!("{} nights in {}", trip.nights, trip.city))
//! });
//! # drop(book);
//! ```
//!
//! Spec: 2026-07-28 basic/patterns/mrtr

mod binding;
pub(crate) mod capability;
mod drive;
pub(crate) mod flatten;
pub(crate) mod form;
pub(crate) mod question;
mod roots;
pub(crate) mod saved;
pub(crate) mod state;
mod step;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use trunkline_service::Request;
use trunkline_service::seal::Sealer;

use self::capability::{Capabilities, Need};
use self::state::Dialogue;
use crate::sdk::Context;
use crate::sdk::task::Tasks;

pub(crate) use self::drive::drive;
pub use self::roots::Root;
pub use self::saved::{MAX_STATE, STATE_TTL};

/// What all calls of a server share when they ask.
#[derive(Debug)]
pub(crate) struct Facilities {
    /// Seals what travels with the client.
    pub(crate) sealer: Arc<Sealer>,
    /// Runs tasks; `None` when the server has none.
    pub(crate) tasks: Option<Arc<Tasks>>,
}

/// The place of a call's conversation, empty while there is none.
#[derive(Default)]
pub(crate) struct Slot {
    dialogue: OnceLock<Box<Dialogue>>,
    /// Wakes whoever drives the call.
    waker: AtomicWaker,
}

impl Slot {
    /// Returns the conversation, begun if there is none.
    pub(crate) fn dialogue(&self, request: &Request) -> &Dialogue {
        self.dialogue.get_or_init(|| Box::new(Dialogue::new(request)))
    }

    /// Returns the conversation if there is one.
    pub(crate) fn made(&self) -> Option<&Dialogue> {
        self.dialogue.get().map(|dialogue| &**dialogue)
    }

    fn resume(&self, dialogue: Dialogue) {
        // The slot of a call that did not run yet is empty.
        let _ = self.dialogue.set(Box::new(dialogue));
    }

    fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Has the call looked at again.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("dialogue", &self.dialogue).finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn declared(&self) -> Capabilities {
        match self.slot().made() {
            Some(dialogue) => dialogue.capabilities(),
            None => Capabilities::of(self.request()),
        }
    }

    /// Tells whether the client can be asked by a form, which [`elicit`](Self::elicit) needs.
    #[must_use]
    pub fn can_elicit(&self) -> bool {
        self.declared().has(Need::Form)
    }

    /// Tells whether the client can be asked to open an address, which [`elicit_url`](Self::elicit_url) needs.
    #[must_use]
    pub fn can_elicit_url(&self) -> bool {
        self.declared().has(Need::Url)
    }

    /// Tells whether the client's model can be asked, which [`sample`](Self::sample) needs.
    #[must_use]
    pub fn can_sample(&self) -> bool {
        self.declared().has(Need::Sampling)
    }

    /// Tells whether the client's model can be asked with tools.
    #[must_use]
    pub fn can_sample_with_tools(&self) -> bool {
        self.declared().has(Need::SamplingTools)
    }

    /// Tells whether the client can be asked for its [`roots`](Self::roots).
    #[must_use]
    pub fn can_list_roots(&self) -> bool {
        self.declared().has(Need::Roots)
    }
}
