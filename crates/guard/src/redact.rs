//! What leaves with a result: bounded in size, without what its reader must not see.
//!
//! ```text
//! Shaped (layer of one tool) -> Shaper: Rewriter (fields by path, values by detectors, sealing) -> Bound (max-result)
//! ```
//!
//! Everything is done on the bytes of the answer: one walk notes what changes, and only then something is copied.

pub mod age;
mod content;
mod cut;
pub mod detect;
pub mod file;
pub mod log;
pub mod path;
mod prose;
mod rewrite;
mod schema;
mod shaped;
mod table;

pub use file::Shape;
pub use rewrite::Rules;
pub use shaped::{Shaped, ShapedReads, Shaper, ToolShapers};
