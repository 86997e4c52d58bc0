//! A database and its declared tools as a service: statements are prepared once and called by their number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use trunkline_protocol::Method;
use trunkline_service::seal::Sealer;
use trunkline_service::{Annotations, Answer, Outcome, Reply, Request, Service, ToolDefinition};

use crate::ad_hoc::AdHocTool;
use crate::cursor::{self, BadCursor, Digest, Format, Pager, Place, digest_values};
use crate::database::{Access, Database, DatabaseError, Dialect, Ran, Run, StatementSource};
use crate::explain::{self, Asked, Late, Refusal};
use crate::learn::{self, Learning, Unprepared};
use crate::options::{AdHoc, Options, SchemaProfile};
use crate::param::{BindError, Bound, Plan};
use crate::result::{Next, RowWriter, Shape};
use crate::schema;
use crate::tool::Tool;
use crate::{Problem, Severity};

/// A database and its declared tools as a service. [`Request::target`] is the index into [`SqlConnector::definitions`].
#[derive(Debug)]
pub struct SqlConnector<D: Database> {
    pub(crate) name: Box<str>,
    pub(crate) database: D,
    pub(crate) options: Options,
    pub(crate) tools: Vec<Slot<D::Statement>>,
    /// `Err` when it is wanted and its name is no tool name.
    pub(crate) ad_hoc: Option<Result<AdHocTool, Problem>>,
    generation: AtomicU64,
    /// Seals where pages end; without one a result that ends early does not go on.
    pub(crate) pager: Option<Pager>,
    /// What [`Database::examine`] found, once it answered.
    examined: Mutex<Option<Vec<Problem>>>,
}

/// A declared tool and what is known of it by now.
#[derive(Debug)]
pub(crate) struct Slot<S> {
    pub(crate) tool: Tool,
    prepared: ArcSwapOption<Prepared<S>>,
    learning: Learning,
}

/// All that a call needs, decided.
#[derive(Debug)]
pub(crate) struct Prepared<S> {
    pub(crate) statement: S,
    pub(crate) plan: Plan,
    pub(crate) shape: Arc<Shape>,
    pub(crate) definition: ToolDefinition,
}

impl<S> Slot<S> {
    /// Returns what is prepared, if anything is.
    pub(crate) fn known(&self) -> Option<Arc<Prepared<S>>> {
        self.prepared.load_full()
    }
}

impl<D: Database> SqlConnector<D> {
    /// Puts a connector together. Nothing is connected and nothing prepared until [`learn`](Self::learn) or a first call.
    #[must_use]
    pub fn new(name: &str, database: D, options: Options, tools: Vec<Tool>) -> Arc<Self> {
        Self::put_together(name, database, options, tools, None)
    }

    /// Puts a connector together whose results that end early go on on later pages. What clients come back with is sealed by
    /// `sealer`, so that it holds on every node with the same keys.
    #[must_use]
    pub fn paged(
        name: &str,
        database: D,
        options: Options,
        mut tools: Vec<Tool>,
        sealer: &Arc<Sealer>,
    ) -> Arc<Self> {
        tools.iter_mut().for_each(Tool::turn_pages_on);
        Self::put_together(name, database, options, tools, Some(Pager::new(name, sealer, D::DIALECT)))
    }

    fn put_together(
        name: &str,
        database: D,
        options: Options,
        tools: Vec<Tool>,
        pager: Option<Pager>,
    ) -> Arc<Self> {
        let ad_hoc = (options.ad_hoc == AdHoc::ReadOnly).then(|| AdHocTool::new(name, &options, D::DIALECT));
        let ad_hoc = match &pager {
            Some(_) => ad_hoc.map(|tool| tool.map(AdHocTool::with_pages)),
            None => ad_hoc,
        };
        let slot = |tool| Slot { tool, prepared: ArcSwapOption::empty(), learning: Learning::default() };
        let tools = tools.into_iter().map(slot).collect();
        let generation = AtomicU64::new(0);
        Arc::new(Self {
            name: name.into(),
            database,
            options,
            tools,
            ad_hoc,
            generation,
            pager,
            examined: Mutex::default(),
        })
    }

    /// Prepares every statement that is not prepared yet and keeps what the database says of it.
    ///
    /// Returns what is wrong with the declared tools; and, marked as unavailable, that the database did not answer, after
    /// which the other statements are not tried. The database is examined once; what that found is told every time.
    ///
    /// # Cancel safety
    /// What was learned until then is kept.
    pub async fn learn(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = match &self.ad_hoc {
            Some(Err(problem)) => vec![problem.clone()],
            _ => Vec::new(),
        };
        problems.extend(self.options.warnings.iter().cloned());
        let examined = self.examined().await;
        // Nothing is prepared for a login that is refused, and nothing on a database that does not answer.
        let ends = examined.iter().any(|problem| problem.severity != Severity::Warning);
        problems.extend(examined);
        if ends {
            return problems;
        }
        for slots in self.tools.chunks(LEARNED_AT_ONCE) {
            let learned = join_all(slots.iter().map(|slot| self.prepared(slot))).await;
            let mut ends = false;
            for (slot, learned) in slots.iter().zip(learned) {
                let Err(unprepared) = learned else { continue };
                match &*unprepared {
                    Unprepared::Wrong(found) => problems.extend(found.iter().cloned()),
                    Unprepared::Database(error) => {
                        let problem = learn::problem(&self.name, &slot.tool, error);
                        let is_down = problem.severity == Severity::Unavailable
                            || matches!(error, DatabaseError::Rejected { .. });
                        // Once is enough to say that nobody answers.
                        if !(is_down && ends) {
                            problems.push(problem);
                        }
                        ends |= is_down;
                    }
                }
            }
            if ends {
                break;
            }
        }
        problems
    }

    async fn examined(&self) -> Vec<Problem> {
        let known = || self.examined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().clone() {
            return found;
        }
        let found = self.database.examine(&self.name).await;
        if found.iter().all(|problem| problem.severity != Severity::Unavailable) {
            *known() = Some(found.clone());
        }
        found
    }

    /// Returns the tools as they are known now: first the declared ones in their order, last the ad-hoc tool if it is on.
    /// Before its first prepare a tool is told by what the file says, without an output schema.
    #[must_use]
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        let declared = self.tools.iter().map(|slot| match &*slot.prepared.load() {
            Some(prepared) => prepared.definition.clone(),
            None => definition(&slot.tool, None, self.options.schema, D::DIALECT),
        });
        let ad_hoc =
            self.ad_hoc.iter().filter_map(|tool| tool.as_ref().ok()).map(|tool| tool.definition.clone());
        declared.chain(ad_hoc).collect()
    }

    /// Tells whether every statement is prepared.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.tools.iter().all(|slot| slot.prepared.load().is_some())
    }

    /// Returns a number that rises whenever [`definitions`](Self::definitions) change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the declared statements, in the order of the tools.
    #[must_use]
    pub fn statements(&self) -> Vec<StatementSource> {
        self.tools.iter().map(|slot| slot.tool.source()).collect()
    }

    /// Whether there is a tool for statements of the caller's own.
    #[must_use]
    pub fn takes_statements(&self) -> bool {
        self.ad_hoc.is_some()
    }

    /// Returns the database.
    #[must_use]
    pub fn database(&self) -> &D {
        &self.database
    }

    /// Returns what is prepared, preparing it first if need be. Callers that come meanwhile wait for the same attempt.
    pub(crate) async fn prepared(
        &self,
        slot: &Slot<D::Statement>,
    ) -> Result<Arc<Prepared<D::Statement>>, Arc<Unprepared>> {
        let known = || slot.prepared.load_full();
        match known() {
            Some(prepared) => Ok(prepared),
            None => slot.learning.once(known, self.prepare(slot)).await,
        }
    }

    /// Returns what is prepared after `failed` did not run any more. Of all calls that it failed for, one asks the database.
    async fn prepared_anew(
        &self,
        slot: &Slot<D::Statement>,
        failed: &Arc<Prepared<D::Statement>>,
    ) -> Result<Arc<Prepared<D::Statement>>, Arc<Unprepared>> {
        let newer = || slot.prepared.load_full().filter(|now| !Arc::ptr_eq(now, failed));
        match newer() {
            Some(prepared) => Ok(prepared),
            None => slot.learning.once(newer, self.prepare(slot)).await,
        }
    }

    /// Asks the database, whatever was known before.
    async fn prepare(&self, slot: &Slot<D::Statement>) -> Result<Arc<Prepared<D::Statement>>, Unprepared> {
        let per_caller = self.options.session.is_some();
        let source = StatementSource { per_caller, ..slot.tool.source() };
        let (statement, description) = self.database.prepare(&source).await.map_err(Unprepared::Database)?;
        let prepared = learn::put_together(&slot.tool, statement, &description, &self.options, D::DIALECT);
        let prepared = Arc::new(prepared.map_err(Unprepared::Wrong)?);
        let before = slot.prepared.swap(Some(Arc::clone(&prepared)));
        if before.is_none_or(|before| !same(&before.definition, &prepared.definition)) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(prepared)
    }

    async fn call_tool(&self, slot: &Slot<D::Statement>, request: Request) -> Outcome {
        let tool = &slot.tool;
        let asked = Asked {
            connector: &self.name,
            tool: tool.name.as_str(),
            access: tool.access,
            log_id: request.log_id(),
        };
        Ok(self.try_tool(slot, &request, &asked).await.unwrap_or_else(Refusal::reply))
    }

    async fn try_tool(
        &self,
        slot: &Slot<D::Statement>,
        request: &Request,
        asked: &Asked<'_>,
    ) -> Result<Reply, Refusal> {
        let deadline = self.deadline(request, slot.tool.deadline);
        let prepared = self.ready(slot, asked, deadline).await?;
        let error = match self.run(slot, &prepared, request, asked, deadline).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let prepared = self.ready_anew(slot, asked, deadline, &prepared, &error).await?;
        let again = self.run(slot, &prepared, request, asked, deadline).await;
        again.map_err(|error| asked.failed(&error))
    }

    /// Returns what a call runs with, prepared first if need be.
    pub(crate) async fn ready(
        &self,
        slot: &Slot<D::Statement>,
        asked: &Asked<'_>,
        deadline: Instant,
    ) -> Result<Arc<Prepared<D::Statement>>, Refusal> {
        match slot.prepared.load_full() {
            Some(prepared) => Ok(prepared),
            None => match explain::within(deadline, self.prepared(slot)).await {
                Ok(Ok(prepared)) => Ok(prepared),
                Ok(Err(unprepared)) => Err(asked.unprepared(&unprepared)),
                Err(Late) => Err(asked.late()),
            },
        }
    }

    /// Returns what a read runs with once more after `error`, where that says that the statement does not fit the database any
    /// more: it was right when it was prepared, so what was learned is learned anew. Any other call ends.
    pub(crate) async fn ready_anew(
        &self,
        slot: &Slot<D::Statement>,
        asked: &Asked<'_>,
        deadline: Instant,
        failed: &Arc<Prepared<D::Statement>>,
        error: &DatabaseError,
    ) -> Result<Arc<Prepared<D::Statement>>, Refusal> {
        if !matches!(error, DatabaseError::Statement { .. }) {
            return Err(asked.failed(error));
        }
        match explain::within(deadline, self.prepared_anew(slot, failed)).await {
            Ok(Ok(prepared)) if asked.access == Access::ReadOnly => Ok(prepared),
            _ => Err(asked.failed(error)),
        }
    }

    async fn run(
        &self,
        slot: &Slot<D::Statement>,
        prepared: &Prepared<D::Statement>,
        request: &Request,
        asked: &Asked<'_>,
        deadline: Instant,
    ) -> Result<Reply, DatabaseError> {
        let tool = &slot.tool;
        let bound = prepared.plan.bind_page(&tool.params, request.arguments(), request.caller());
        let Bound { values, cursor } = match bound {
            Ok(bound) => bound,
            Err(BindError::Arguments(text)) => return Ok(Reply::tool_error(&text)),
            Err(BindError::Computed { name, source }) => {
                return Ok(asked.not_computed(&name, source.as_ref()).reply());
            }
        };
        let behalf = match self.options.behalf(request.caller()) {
            Ok(behalf) => behalf,
            Err(unidentified) => return Ok(asked.unidentified(&unidentified).reply()),
        };
        let mut rows = RowWriter::new(Arc::clone(&prepared.shape));
        rows.report_to(request.progress());
        let mut run = Run { deadline: Some(deadline), behalf, ..Run::new(values, rows) };
        let pager = self.pager.as_ref().filter(|_| tool.has_pages);
        if let Some(pager) = pager
            && let Err(bad) =
                turn_to(pager, &mut run, cursor, || pager.tool(asked.tool, &tool.scanned.render()), request)
        {
            return Ok(Reply::tool_error(bad.public()));
        }
        let resumed = run.page.resume;
        let sent = resumed.map_or(0, |resume| resume.sent);
        let Ran { rows, affected, kept } = self.database.run(&prepared.statement, run).await?;
        let reply = rows.finish_page(affected, |ended| {
            let bound = prepared.plan.bind(&tool.params, request.arguments(), request.caller()).ok()?;
            let pager = pager?;
            let of = pager.tool(asked.tool, &tool.scanned.render());
            next(pager, Place::after(of, &bound, sent, ended, kept), asked.tool, request)
        });
        // A later page is for whoever had the one before.
        Ok(if resumed.is_some() { reply.with_bound() } else { reply })
    }

    async fn call_ad_hoc(&self, tool: &AdHocTool, request: Request) -> Outcome {
        let name = tool.definition.name.as_str();
        let asked =
            Asked { connector: &self.name, tool: name, access: Access::ReadOnly, log_id: request.log_id() };
        let deadline = self.deadline(&request, None);
        let behalf = match self.options.behalf(request.caller()) {
            Ok(behalf) => behalf,
            Err(unidentified) => return Ok(asked.unidentified(&unidentified).reply()),
        };
        let source = match tool.source(request.arguments(), request.caller()) {
            Ok(source) => StatementSource { behalf: behalf.clone(), ..source },
            Err(text) => return Ok(Reply::tool_error(&text)),
        };
        let (statement, description) = match explain::within(deadline, self.database.prepare(&source)).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) => return Ok(asked.ad_hoc_failed(&error, &source.sql).reply()),
            Err(Late) => return Ok(asked.late().reply()),
        };
        if !description.parameters.is_empty() {
            return Ok(Reply::tool_error(
                "the statement has parameters and nothing gives them values; write the values into it",
            ));
        }
        let mut rows = RowWriter::new(Arc::new(tool.shape(description.columns)));
        rows.report_to(request.progress());
        let mut run = Run { deadline: Some(deadline), behalf, ..Run::new(Vec::new(), rows) };
        if let Some(pager) = &self.pager {
            let cursor = tool.cursor(request.arguments(), request.caller());
            if let Err(bad) = turn_to(pager, &mut run, cursor, || pager.tool(name, &source.sql), &request) {
                return Ok(Reply::tool_error(bad.public()));
            }
        }
        let sent = run.page.resume.map_or(0, |resume| resume.sent);
        match self.database.run(&statement, run).await {
            Ok(Ran { rows, kept, .. }) => Ok(rows.finish_page(None, |ended| {
                let pager = self.pager.as_ref()?;
                let of = pager.tool(name, &source.sql);
                next(pager, Place::after(of, &[], sent, ended, kept), name, &request)
            })),
            Err(error) => Ok(asked.ad_hoc_failed(&error, &source.sql).reply()),
        }
    }

    /// The nearest of the bounds on a call.
    pub(crate) fn deadline(&self, request: &Request, tool: Option<Duration>) -> Instant {
        let bounds = [tool, self.options.deadline];
        let own = bounds.into_iter().flatten().fold(self.options.statement_timeout, Duration::min);
        let own = Instant::now() + own;
        request.ends().map_or(own, |outer| outer.min(own))
    }
}

/// Has a run begin where the cursor says, if there is one, and keep what the next page needs.
fn turn_to(
    pager: &Pager,
    run: &mut Run<RowWriter>,
    cursor: Option<Box<str>>,
    tool: impl FnOnce() -> Digest,
    request: &Request,
) -> Result<(), BadCursor> {
    run.page.may_continue = true;
    run.rows.keep_room_for_cursor();
    if let Some(cursor) = cursor {
        let place = pager.open(&cursor, tool(), digest_values(&run.values), request.caller())?;
        run.rows.follow(place.last);
        run.page.resume = Some(place.resume());
    }
    Ok(())
}

/// Seals the way on, for this caller.
fn next(pager: &Pager, place: Place, tool: &str, request: &Request) -> Option<Next> {
    let cursor = pager.cursor(&place, request.caller()).ok()?;
    let uri = pager.uri(Format::Csv, &place, tool, request.arguments(), request.caller());
    Some(Next { cursor, link: uri.map(|uri| cursor::link(&uri, tool)).unwrap_or_default() })
}

/// Returns the tool as clients see it. Without `learned` the database has not been asked yet.
pub(crate) fn definition(
    tool: &Tool,
    learned: Option<(&Plan, serde_json::Value)>,
    profile: SchemaProfile,
    dialect: Dialect,
) -> ToolDefinition {
    let (plan, output_schema) = learned.map_or((None, None), |(plan, schema)| (Some(plan), Some(schema)));
    let mut input_schema = schema::input(&tool.params, plan, profile, dialect);
    if tool.has_pages {
        cursor::describe_argument(&mut input_schema);
    }
    ToolDefinition {
        name: tool.name.clone(),
        title: tool.title.clone(),
        description: tool.description.clone(),
        input_schema,
        output_schema,
        annotations: if tool.access == Access::ReadOnly {
            Annotations::READ_ONLY
        } else {
            Annotations::WRITES
        },
        icons: Vec::new(),
        meta: None,
    }
}

/// Tells whether clients would see no difference.
fn same(left: &ToolDefinition, right: &ToolDefinition) -> bool {
    left.input_schema == right.input_schema && left.output_schema == right.output_schema
}

impl<D: Database> Service for SqlConnector<D> {
    fn call(&self, request: Request) -> Answer<'_> {
        if request.method() == Method::ResourcesRead {
            return Answer::later(self.read_rest(request));
        }
        let target = usize::try_from(request.target()).unwrap_or(usize::MAX);
        match (self.tools.get(target), &self.ad_hoc) {
            (Some(slot), _) => Answer::later(self.call_tool(slot, request)),
            (None, Some(Ok(tool))) if target == self.tools.len() => {
                Answer::later(self.call_ad_hoc(tool, request))
            }
            // Only a router with another list than ours can ask for it.
            _ => trunkline_service::ready(Ok(Reply::tool_error("this tool is gone; list the tools again"))),
        }
    }
}

/// How many tools of a connector are prepared at a time: enough to hide the way to the database, few enough to leave room in
/// its pool.
const LEARNED_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests;
