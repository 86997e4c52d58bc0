//! The layer around a tool that promised a form for its results: looks whether they have it.

use std::sync::Arc;

use trunkline_protocol::member;
use trunkline_service::meter::{Counter, Meter, Page};
use trunkline_service::{Answer, Reply, ReplyKind, Request, Service, ToolDefinition};

use super::own::{Path, Wording};
use super::{Options, ResultsMode, Schema, SchemaError};

/// Looks at the `structuredContent` of one tool's results.
///
/// Nothing of a value is told, to the caller or in the log: only where it stands, its kind, and what was promised.
#[derive(Debug)]
pub struct ResultsChecked<S> {
    inner: S,
    schema: Schema,
    enforces: bool,
    meter: Arc<ResultsMeter>,
}

/// How many results of one tool did not fit.
#[derive(Debug)]
pub struct ResultsMeter {
    tool: Box<str>,
    checked: Counter,
    refused: Counter,
    reported: Counter,
}

const WORDING: Wording = Wording {
    refused: "the tool answered, and its result is not what its `outputSchema` promises; this is a mistake of the server that its \
              operator has to correct, other arguments will not help",
    taker: "the schema",
};
const MEMBER: &[u8] = br#","structuredContent":"#;

impl<S> ResultsChecked<S> {
    /// Makes the layer for a tool; gives `inner` back where there is nothing to do: the mode is [`ResultsMode::Off`], or no form is
    /// promised.
    ///
    /// # Errors
    /// Why the schema of the tool's results is not used: the tool is quarantined then.
    pub fn new(inner: S, tool: &ToolDefinition, mode: ResultsMode) -> Result<Result<Self, S>, SchemaError> {
        let Some(schema) = tool.output_schema.as_ref().filter(|_| mode != ResultsMode::Off) else {
            return Ok(Err(inner));
        };
        let meter = ResultsMeter {
            tool: tool.name.as_str().into(),
            checked: Counter::default(),
            refused: Counter::default(),
            reported: Counter::default(),
        };
        Ok(Ok(Self {
            inner,
            // A default tells what a missing member means; what is promised has to be there.
            schema: Schema::compile(schema, Options { completes: false, ..Options::default() })?,
            enforces: mode == ResultsMode::Enforce,
            meter: Arc::new(meter),
        }))
    }

    /// Returns what is counted.
    #[must_use]
    pub fn meter(&self) -> &Arc<ResultsMeter> {
        &self.meter
    }

    fn look(&self, reply: Reply) -> Reply {
        if reply.is_error() || reply.kind() != ReplyKind::Complete {
            return reply;
        }
        self.meter.checked.add_one();
        let Some(problem) = self.problem(&reply) else { return reply };
        let tool = &*self.meter.tool;
        if self.enforces {
            self.meter.refused.add_one();
            tracing::warn!(tool, problem, "a result was not sent");
            return Reply::tool_error(&problem);
        }
        self.meter.reported.add_one();
        tracing::warn!(tool, problem, "a result was sent although it does not fit");
        reply
    }

    fn problem(&self, reply: &Reply) -> Option<String> {
        let members = reply.members();
        let whole;
        let structured = match reply.structured() {
            Some(range) => members.get(range.clone())?.strip_prefix(MEMBER)?,
            None => {
                whole = [b"{", members, b"}"].concat();
                member(&whole, "structuredContent").raw(&whole)
            }
        };
        if structured.is_empty() {
            return Some(format!("{}: there is no `structuredContent`", WORDING.refused));
        }
        let text = std::str::from_utf8(structured).ok()?;
        self.schema.check(text, &Path::root("result", true), WORDING).err()
    }
}

impl<S: Service> Service for ResultsChecked<S> {
    fn call(&self, request: Request) -> Answer<'_> {
        self.inner.call(request).map_outcome(|outcome| outcome.map(|reply| self.look(reply)))
    }
}

impl Meter for ResultsMeter {
    fn read(&self, page: &mut Page) {
        let labels = [("tool", &*self.tool)];
        let Self { checked, refused, reported, .. } = self;
        page.counter(
            "trunkline_validate_results_checked_total",
            "Results that were looked at.",
            &labels,
            checked.sum(),
        );
        page.counter(
            "trunkline_validate_results_refused_total",
            "Results that were not sent since they do not fit.",
            &labels,
            refused.sum(),
        );
        page.counter(
            "trunkline_validate_results_reported_total",
            "Results that were sent although they do not fit.",
            &labels,
            reported.sum(),
        );
    }
}
