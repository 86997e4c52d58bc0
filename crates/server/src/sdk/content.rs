//! Blocks of content, and the one buffer they are written into as JSON.

mod blocks;
mod writer;

pub(crate) use blocks::Held;
pub use blocks::{Audio, Content, ContentAnnotations, EmbeddedResource, Image, ResourceLink, Role, Text};
pub(crate) use writer::resource_contents;
pub use writer::{IntoPart, PartWriter};
