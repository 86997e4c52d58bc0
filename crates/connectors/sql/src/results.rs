//! The rest of a result as a resource: `postgres://shop/results/csv/...`, sealed for one caller, in large pages.
//!
//! What is sealed names the tool and holds its arguments, so the tool runs again as that caller's call would: its statement,
//! its computed parameters, its bounds. A tool that is gone takes its results with it.

use std::sync::Arc;
use std::time::Instant;

use trunkline_protocol::write;
use trunkline_service::catalog::TemplateDefinition;
use trunkline_service::{CacheScope, Failure, FailureKind, Hints, Outcome, Reply, Request};

use crate::connector::{Prepared, Slot, SqlConnector};
use crate::cursor::{Format, Pager, Place, Rest, digest_values};
use crate::database::{Access, Database, DatabaseError, Page, Ran, Run, StatementSource};
use crate::explain::{self, Asked, Late, Refusal};
use crate::param::BindError;
use crate::result::{Lines, RowWriter, Shape};
use crate::table;
use crate::value::Value;

/// The member of `_meta` that says where the page after this one is.
const NEXT: &str = "io.trunkline/next";

/// Told of a link that does not open, which has one reason of several that nobody can tell apart.
const UNKNOWN: &str = "the link has expired or is not of this caller; call the tool again for a new one";

/// Told of a link whose tool does not give that result any more.
const CHANGED: &str = "the tool of this link has changed or is gone; call it again for a new link";

/// What is read, once all of it was found right.
struct Reading<'a> {
    pager: &'a Pager,
    format: Format,
    rest: Rest,
    deadline: Instant,
    asked: Asked<'a>,
    request: &'a Request,
}

impl<D: Database> SqlConnector<D> {
    /// Returns the template of the resources that results go on in; none when no tool has such results.
    #[must_use]
    pub fn templates(&self) -> Vec<TemplateDefinition> {
        let declared = self.tools.iter().any(|slot| slot.tool.has_pages);
        let Some(pager) = self.pager.as_ref().filter(|_| declared || self.ad_hoc.is_some()) else {
            return Vec::new();
        };
        vec![TemplateDefinition {
            uri_template: pager.template(),
            name: format!("{}_results", self.name),
            title: Some(format!("Results of {}", self.name)),
            description: Some(
                "The rest of a result that was too long, from the `resource_link` of that result; `format` is `csv` or `jsonl`"
                    .to_owned(),
            ),
            ..TemplateDefinition::default()
        }]
    }

    /// Answers `resources/read` of the rest of a result.
    pub(crate) async fn read_rest(&self, request: Request) -> Outcome {
        let uri = request.uri().unwrap_or_default().into_owned();
        let Some(pager) = &self.pager else { return Err(Failure::resource_not_found(&uri)) };
        let Some((format, rest)) = pager.open_uri(&uri, request.caller()) else {
            return Err(if pager.is_link(&uri) {
                Failure::resource_gone(&uri, UNKNOWN)
            } else {
                Failure::resource_not_found(&uri)
            });
        };
        let slot = self.tools.iter().find(|slot| slot.tool.name.as_str() == rest.tool);
        let deadline = self.deadline(&request, slot.and_then(|slot| slot.tool.deadline));
        let tool = rest.tool.clone();
        let asked =
            Asked { connector: &self.name, tool: &tool, access: Access::ReadOnly, log_id: request.log_id() };
        let reading = Reading { pager, format, rest, deadline, asked, request: &request };
        if let Some(slot) = slot.filter(|slot| slot.tool.has_pages) {
            return self.read_declared(&reading, slot).await.unwrap_or_else(|refusal| Err(refusal.failure()));
        }
        let Some(Ok(tool)) = &self.ad_hoc else { return Err(Failure::resource_gone(&uri, CHANGED)) };
        let behalf = self.options.behalf(request.caller());
        let behalf = behalf.map_err(|unidentified| asked.unidentified(&unidentified).failure())?;
        let source = tool.source(&reading.rest.arguments, request.caller()).ok();
        let Some(source) = source.filter(|_| tool.definition.name.as_str() == reading.rest.tool) else {
            return Err(Failure::resource_gone(&uri, CHANGED));
        };
        let source = StatementSource { behalf, ..source };
        let told = |error: &DatabaseError| asked.ad_hoc_failed(error, &source.sql).failure();
        let prepared = explain::within(deadline, self.database.prepare(&source)).await;
        let prepared = prepared.map_err(|Late| asked.late().failure())?;
        let (statement, description) = prepared.map_err(|error| told(&error))?;
        let shape = Arc::new(tool.shape(description.columns));
        let read = self.read_page(&reading, &statement, &shape, Vec::new(), &source.sql).await;
        read.unwrap_or_else(|error| Err(told(&error)))
    }

    async fn read_declared(
        &self,
        reading: &Reading<'_>,
        slot: &Slot<D::Statement>,
    ) -> Result<Outcome, Refusal> {
        let Reading { asked, deadline, .. } = reading;
        let prepared = self.ready(slot, asked, *deadline).await?;
        let error = match self.read_prepared(reading, slot, &prepared).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        let prepared = self.ready_anew(slot, asked, *deadline, &prepared, &error).await?;
        self.read_prepared(reading, slot, &prepared).await.map_err(|error| asked.failed(&error))
    }

    async fn read_prepared(
        &self,
        reading: &Reading<'_>,
        slot: &Slot<D::Statement>,
        prepared: &Prepared<D::Statement>,
    ) -> Result<Outcome, DatabaseError> {
        let Reading { rest, asked, request, .. } = reading;
        let Prepared { plan, shape, statement, .. } = prepared;
        let values = match plan.bind(&slot.tool.params, &rest.arguments, request.caller()) {
            Ok(values) => values,
            Err(BindError::Computed { name, source }) => {
                return Ok(Err(asked.not_computed(&name, source.as_ref()).failure()));
            }
            // The tool takes other arguments than it did.
            Err(BindError::Arguments(_)) => return Ok(reading.changed()),
        };
        self.read_page(reading, statement, shape, values, &slot.tool.scanned.render()).await
    }

    async fn read_page(
        &self,
        reading: &Reading<'_>,
        statement: &D::Statement,
        shape: &Arc<Shape>,
        values: Vec<Value>,
        sql: &str,
    ) -> Result<Outcome, DatabaseError> {
        let Reading { pager, format, rest: Rest { place, tool, arguments }, deadline, asked, request } =
            reading;
        if place.tool != pager.tool(tool, sql) || place.arguments != digest_values(&values) {
            // The operator changed the tool, or what is said of the caller changed: these rows are not that result's.
            return Ok(reading.changed());
        }
        let behalf = match self.options.behalf(request.caller()) {
            Ok(behalf) => behalf,
            Err(unidentified) => return Ok(Err(asked.unidentified(&unidentified).failure())),
        };
        let mut rows = RowWriter::lines(Arc::clone(shape));
        rows.follow(place.last);
        rows.report_to(request.progress());
        let run = Run {
            deadline: Some(*deadline),
            behalf,
            page: Page { resume: Some(place.resume()), may_continue: true },
            ..Run::new(values, rows)
        };
        let Ran { rows, kept, .. } = self.database.run(statement, run).await?;
        let Lines { json, ended } = match rows.finish_lines() {
            Ok(lines) => lines,
            Err(text) => return Ok(Err(Failure::new(FailureKind::InvalidParams, text))),
        };
        let next = ended.and_then(|ended| {
            let (sent, last) = (place.sent + u64::from(ended.rows), ended.last);
            let place = Place { sent, last, kept, ..*place };
            pager.uri(*format, &place, tool, arguments, request.caller())
        });
        Ok(Ok(reply(request, *format, json, shape, next.as_deref()).with_origin(tool)))
    }
}

impl Reading<'_> {
    fn changed(&self) -> Outcome {
        Err(Failure::resource_gone(&self.request.uri().unwrap_or_default(), CHANGED))
    }
}

/// Puts the answer together: one content, and where the page after it is.
fn reply(request: &Request, format: Format, mut lines: Vec<u8>, shape: &Shape, next: Option<&str>) -> Reply {
    let text = match format {
        Format::Csv => table::csv_of_lines(&lines, shape).into_bytes(),
        Format::JsonLines => {
            if !lines.is_empty() {
                lines.push(b'\n');
            }
            lines
        }
    };
    let mut meta = Vec::new();
    if let Some(next) = next {
        write::string(&mut meta, NEXT);
        meta.push(b':');
        write::string(&mut meta, next);
    }
    let mut members = Vec::with_capacity(text.len() + text.len() / 4 + 1024);
    members.extend_from_slice(br#""contents":[{"uri":"#);
    write::string(&mut members, &request.uri().unwrap_or_default());
    members.extend_from_slice(br#","mimeType":"#);
    write::string(&mut members, format.mime_type());
    members.extend_from_slice(br#","text":""#);
    write::escaped(&mut members, &text);
    members.push(b'"');
    // Hosts hand on the contents, and not always what stands beside them.
    if !meta.is_empty() {
        members.extend_from_slice(br#","_meta":{"#);
        members.extend_from_slice(&meta);
        members.push(b'}');
    }
    members.extend_from_slice(b"}]");
    Reply::from_members(members).with_meta(meta).with_hints(Hints { ttl_ms: 0, scope: CacheScope::Private })
}

#[cfg(test)]
mod tests;
