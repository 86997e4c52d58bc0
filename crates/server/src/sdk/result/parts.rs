//! A stream of parts as the result of a tool: told while it runs, kept up to a bound.

use std::future::poll_fn;
use std::pin::{Pin, pin};

use futures_util::Stream;
use trunkline_service::{Outcome, Progress};

use super::{IntoToolResult, finish};
use crate::sdk::content::{IntoPart, PartWriter};
use crate::sdk::{Context, ToolError};

/// A stream of parts as the result of a tool.
///
/// To a client that asked for progress each part leaves at once, as the message of a progress notification; the stream waits
/// while the client does not read, so that a slow reader slows nobody but itself. The whole is the result, up to
/// [`Server::max_result`](super::super::Server::max_result) bytes; what is over is told but not kept, and the result says how
/// much that was. A part that is an `Err` ends the stream: the result is an error with what came before.
#[derive(Debug, Clone, Copy)]
pub struct Parts<S>(pub S);

/// An item of a stream of parts: a part, or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "a stream of `{Self}` cannot be the result of a tool",
    note = "the items must be content, such as text, or `Result<content, ToolError>`"
)]
pub trait IntoStreamPart: Send {
    /// Writes the part, or says why there is none.
    ///
    /// # Errors
    /// The error that ends the stream.
    fn write_part(self, parts: &mut PartWriter) -> Result<(), ToolError>;
}

#[diagnostic::do_not_recommend]
impl<P: IntoPart> IntoStreamPart for P {
    fn write_part(self, parts: &mut PartWriter) -> Result<(), ToolError> {
        self.write_to(parts);
        Ok(())
    }
}

impl<P: IntoPart, E: Into<ToolError> + Send> IntoStreamPart for Result<P, E> {
    fn write_part(self, parts: &mut PartWriter) -> Result<(), ToolError> {
        self.map(|part| part.write_to(parts)).map_err(Into::into)
    }
}

/// What did not fit.
#[derive(Debug, Default)]
struct LeftOut {
    parts: u64,
    bytes: u64,
}

impl<S> IntoToolResult for Parts<S>
where
    S: Stream + Send,
    S::Item: IntoStreamPart,
{
    async fn into_outcome(self, ctx: &Context) -> Outcome {
        let mut stream = pin!(self.0);
        let progress = ctx.request().progress().cloned();
        let max = ctx.max_result();
        let (mut kept, mut left_out, mut told) = (PartWriter::new(), LeftOut::default(), 0_u64);
        let mut ended = None;
        while let Some(item) = next(stream.as_mut()).await {
            let mut part = if progress.is_some() { PartWriter::telling() } else { PartWriter::new() };
            if let Err(error) = item.write_part(&mut part) {
                ended = Some(error);
                break;
            }
            if let Some(progress) = &progress {
                told += 1;
                tell(progress, told, part.told()).await;
            }
            // Once something is left out all that follows is: what is kept is a beginning, not a selection.
            if left_out.parts == 0 && kept.len() + part.len() <= max {
                kept.append(part);
            } else {
                left_out.parts += 1;
                left_out.bytes += part.len() as u64;
            }
            // A stream that always has something ready must not keep others from running.
            tokio::task::consume_budget().await;
        }
        if left_out.parts > 0 {
            kept.text(&format!(
                "[{} more parts ({} bytes) were left out: a result holds at most {max} bytes]",
                left_out.parts, left_out.bytes
            ));
        }
        match ended.map(ToolError::into_text) {
            None => finish(kept, false, None, ctx),
            Some(Ok(text)) => {
                kept.text(&text);
                finish(kept, true, None, ctx)
            }
            Some(Err(failure)) => Err(failure),
        }
    }
}

async fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

/// Sends one part, waiting for room.
async fn tell(progress: &Progress, number: u64, text: Option<&str>) {
    // Where the tool has reported more of its own accord it is raised above that.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
    let done = number as f64;
    // A client that left drops the whole call; there is nothing to do about it here.
    progress.deliver(done, None, text).await;
}
