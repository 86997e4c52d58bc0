//! The layer that shapes what leaves: around one tool, resource or prompt, outside of what keeps its answers, so that a kept answer
//! is shaped as a new one is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use trunkline_protocol::Method;
use trunkline_service::meter::{Counter, Meter, Page};
use trunkline_service::{Answer, Failure, FailureKind, Outcome, Reply, Request, Service, Veil};

use super::cut::{Bound, Promise};
use super::detect::{Detector, Tally};
use super::file::Shape;
use super::rewrite::{Rewriter, Rules};
use super::schema;

/// How the results of one tool are shaped, and how often that happened.
#[derive(Debug)]
pub struct Shaper {
    /// `tool` or `connector`, and its name.
    whose: (&'static str, Box<str>),
    rules: Rules,
    bound: Option<Bound>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    found: [Counter; 5],
    fields: Counter,
    sealed: Counter,
    cut: Counter,
    unreadable: Counter,
}

impl Shaper {
    /// Makes the shaper of a tool. `schema` is what it promises of structured content, as it is inside.
    #[must_use]
    pub fn of_tool(shape: &Shape, name: &str, schema: Option<&Value>) -> Self {
        Self::new(shape, ("tool", name.into()), Promise::of(schema))
    }

    /// Makes the shaper of what a connector has beside tools: prompts, resources, templates.
    #[must_use]
    pub fn of_connector(shape: &Shape, name: &str) -> Self {
        Self::new(shape, ("connector", name.into()), Promise::Nothing)
    }

    fn new(shape: &Shape, whose: (&'static str, Box<str>), promise: Promise) -> Self {
        let bound = shape.max_result().map(|max| Bound { max, promise });
        Self { whose, rules: shape.rules(), bound, counts: Counts::default() }
    }

    /// Makes a promised schema true of what leaves, to be listed in the place of the one that results are checked against inside.
    pub fn widen(&self, schema: &mut Option<Value>) {
        if let Some(schema) = schema.as_mut().filter(|_| !self.rules.is_empty()) {
            schema::widen(&self.rules, schema);
        }
    }

    /// Shapes what leaves for a request of that method.
    ///
    /// # Errors
    /// The failure that came, shaped too; and one of its own for what cannot be looked through, since it is no JSON or nested too
    /// deep: that does not leave. Of a tool it is a result that says so.
    pub fn shape(&self, outcome: Outcome, method: Method, log_id: u64) -> Outcome {
        let outcome = if self.rules.is_empty() { outcome } else { self.hidden(outcome, method, log_id) };
        match (outcome, &self.bound) {
            (Ok(reply), Some(bound)) => match bound.cut(&reply, method) {
                Ok(None) => Ok(reply),
                Ok(Some(cut)) => {
                    self.counts.cut.add_one();
                    Ok(cut)
                }
                Err(_) => self.unreadable(method, log_id),
            },
            (outcome, _) => outcome,
        }
    }

    fn hidden(&self, outcome: Outcome, method: Method, log_id: u64) -> Outcome {
        let mut rewriter = Rewriter::new(&self.rules);
        let outcome = match outcome {
            Ok(reply) => rewriter.reply(reply).or_else(|_| self.unreadable(method, log_id)),
            Err(failure) => Err(rewriter.failure(failure)),
        };
        self.count(&rewriter.tally);
        outcome
    }

    fn unreadable(&self, method: Method, log_id: u64) -> Outcome {
        self.counts.unreadable.add_one();
        let request = format_args!("{log_id:016x}");
        let (kind, name) = &self.whose;
        tracing::error!(%request, kind, name = &**name, "a result could not be looked through and was held back");
        let text = "the result could not be looked through for what must be hidden, and is held back";
        if method == Method::ToolsCall {
            return Ok(Reply::tool_error(&format!("{text} (request {log_id:016x})")));
        }
        Err(Failure::new(FailureKind::Internal, text))
    }

    fn count(&self, tally: &Tally) {
        for (detector, counter) in Detector::ALL.into_iter().zip(&self.counts.found) {
            add(counter, tally.found(detector));
        }
        add(&self.counts.fields, tally.fields);
        add(&self.counts.sealed, tally.sealed);
    }
}

/// Most answers have nothing to count, and then no core has to tell another.
fn add(counter: &Counter, more: u64) {
    if more > 0 {
        counter.add(more);
    }
}

impl Meter for Shaper {
    fn read(&self, page: &mut Page) {
        let whose = (self.whose.0, &*self.whose.1);
        if !self.rules.is_empty() {
            let (name, help) =
                ("trunkline_redact_hidden_total", "Values hidden in what left, by what found them.");
            let of_kind = Detector::ALL.into_iter().zip(&self.counts.found);
            for (detector, counter) in of_kind.filter(|(detector, _)| self.rules.detectors.has(*detector)) {
                page.counter(name, help, &[whose, ("kind", detector.as_str())], counter.sum());
            }
            page.counter(name, help, &[whose, ("kind", "field")], self.counts.fields.sum());
        }
        if !self.rules.recipients.is_empty() {
            let (name, help) =
                ("trunkline_redact_sealed_total", "Values sealed for the key of their reader.");
            page.counter(name, help, &[whose], self.counts.sealed.sum());
        }
        if self.bound.is_some() {
            let (name, help) =
                ("trunkline_redact_cut_total", "Results cut since they were larger than may be sent.");
            page.counter(name, help, &[whose], self.counts.cut.sum());
        }
        let (name, help) =
            ("trunkline_redact_held_back_total", "Results held back since they could not be looked through.");
        page.counter(name, help, &[whose], self.counts.unreadable.sum());
    }
}

impl Veil for Shaper {
    fn veil(&self, message: Bytes) -> Bytes {
        let mut rewriter = Rewriter::new(&self.rules);
        let other = std::str::from_utf8(&message).ok().map(|text| rewriter.notification(text));
        self.count(&rewriter.tally);
        match other {
            Some(Ok(None)) => message,
            Some(Ok(Some(other))) => other.into(),
            // Nothing is known of it, and nothing that nobody can read is lost.
            _ => Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":"a message could not be looked through and was held back"}}"#),
        }
    }
}

/// Shapes what a service answers, and what it tells of its work.
#[derive(Debug)]
pub struct Shaped<S> {
    inner: S,
    shaper: Arc<Shaper>,
}

impl<S> Shaped<S> {
    /// Wraps the service of one tool, or of what else the shaper is for.
    #[must_use]
    pub const fn new(inner: S, shaper: Arc<Shaper>) -> Self {
        Self { inner, shaper }
    }
}

impl<S: Service> Service for Shaped<S> {
    fn call(&self, mut request: Request) -> Answer<'_> {
        let (method, log_id) = (request.method(), request.log_id());
        if !self.shaper.rules.is_empty() && request.outlet().is_some() {
            let veil: Arc<dyn Veil> = Arc::<Shaper>::clone(&self.shaper);
            request.veil(&veil);
        }
        self.inner.call(request).map_outcome(move |outcome| self.shaper.shape(outcome, method, log_id))
    }
}

/// How the results of the tools of one connector are shaped; `None` for those that leave as they are.
pub type ToolShapers = BTreeMap<Box<str>, Option<Arc<Shaper>>>;

/// Shapes what is read of a connector: what goes on with the result of a tool as that tool's results, everything else as the
/// connector says.
#[derive(Debug)]
pub struct ShapedReads<S> {
    inner: S,
    shaper: Option<Arc<Shaper>>,
    tools: Arc<ToolShapers>,
}

impl<S> ShapedReads<S> {
    /// Wraps the service of a resource or a template. A tool that is not among `tools` is shaped as the connector is.
    #[must_use]
    pub const fn new(inner: S, shaper: Option<Arc<Shaper>>, tools: Arc<ToolShapers>) -> Self {
        Self { inner, shaper, tools }
    }

    fn shape(&self, outcome: Outcome, method: Method, log_id: u64) -> Outcome {
        match outcome {
            Ok(reply) => {
                let of_tool = reply.origin().and_then(|tool| self.tools.get(tool));
                match of_tool.unwrap_or(&self.shaper) {
                    Some(shaper) => shaper.shape(Ok(reply), method, log_id),
                    None => Ok(reply),
                }
            }
            // Which tool it was is not known: nothing that any of them hides is told.
            failed => {
                let all = self.shaper.iter().chain(self.tools.values().flatten());
                all.fold(failed, |failed, shaper| shaper.shape(failed, method, log_id))
            }
        }
    }
}

impl<S: Service> Service for ShapedReads<S> {
    fn call(&self, mut request: Request) -> Answer<'_> {
        let (method, log_id) = (request.method(), request.log_id());
        if request.outlet().is_some() {
            for shaper in self.shaper.iter().chain(self.tools.values().flatten()) {
                if !shaper.rules.is_empty() {
                    let veil: Arc<dyn Veil> = Arc::<Shaper>::clone(shaper);
                    request.veil(&veil);
                }
            }
        }
        self.inner.call(request).map_outcome(move |outcome| self.shape(outcome, method, log_id))
    }
}

#[cfg(test)]
mod tests;
