//! The rest of a result as a resource: `postgres://shop/results/csv/...`, sealed for one caller, in large pages.
//!
//! What is sealed names the tool and holds its arguments, so the tool runs again as that caller's call would: its statement,
//! its computed parameters, its bounds. A tool that is gone takes its results with it.

use std::sync::Arc;
use std::time::Instant;

use trunkline_protocol::write;
use trunkline_service::catalog::TemplateDefinition;
use trunkline_service::{CacheScope, Failure, FailureKind, Hints, Outcome, Reply, Request};

use crate::connector::{Prepared, SqlConnector};
use crate::cursor::{Format, Pager, Place, Rest, digest_values};
use crate::database::{Access, Database, DatabaseError, Page, Ran, Run};
use crate::explain::{self, Asked, Late};
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
        let reading = Reading { pager, format, rest, deadline };
        if let Some(slot) = slot.filter(|slot| slot.tool.has_pages) {
            let prepared = explain::within(deadline, self.prepared(slot)).await;
            let prepared = prepared.map_err(|Late| late())?.map_err(|_| unavailable())?;
            let Prepared { plan, shape, statement, .. } = &*prepared;
            let values = plan.bind(&slot.tool.params, &reading.rest.arguments, request.caller());
            let values = values.map_err(|_| Failure::resource_gone(&uri, CHANGED))?;
            let sql = slot.tool.scanned.render();
            return self.read_page(&reading, statement, shape, values, &sql, &request).await;
        }
        let Some(Ok(tool)) = &self.ad_hoc else { return Err(Failure::resource_gone(&uri, CHANGED)) };
        let source = tool.source(&reading.rest.arguments, request.caller()).ok();
        let Some(source) = source.filter(|_| tool.definition.name.as_str() == reading.rest.tool) else {
            return Err(Failure::resource_gone(&uri, CHANGED));
        };
        let prepared = explain::within(deadline, self.database.prepare(&source)).await;
        let (statement, description) = prepared.map_err(|Late| late())?.map_err(|error| failed(&error))?;
        let shape = Arc::new(tool.shape(description.columns));
        self.read_page(&reading, &statement, &shape, Vec::new(), &source.sql, &request).await
    }

    async fn read_page(
        &self,
        reading: &Reading<'_>,
        statement: &D::Statement,
        shape: &Arc<Shape>,
        values: Vec<Value>,
        sql: &str,
        request: &Request,
    ) -> Outcome {
        let Reading { pager, format, rest: Rest { place, tool, arguments }, deadline } = reading;
        if place.tool != pager.tool(tool, sql) || place.arguments != digest_values(&values) {
            // The operator changed the tool, or what is said of the caller changed: these rows are not that result's.
            return Err(Failure::resource_gone(&request.uri().unwrap_or_default(), CHANGED));
        }
        let log_id = request.log_id();
        let asked = Asked { connector: &self.name, tool, access: Access::ReadOnly, log_id };
        let behalf = self.options.behalf(request.caller()).map_err(|unidentified| {
            // Its one use here is what it writes to the log.
            drop(asked.unidentified(&unidentified));
            Failure::new(FailureKind::Forbidden, "who is calling could not be told to the database")
        })?;
        let mut rows = RowWriter::lines(Arc::clone(shape));
        rows.follow(place.last);
        rows.report_to(request.progress());
        let run = Run {
            deadline: Some(*deadline),
            behalf,
            page: Page { resume: Some(place.resume()), may_continue: true },
            ..Run::new(values, rows)
        };
        let ran = self.database.run(statement, run).await.map_err(|error| {
            asked.warn(&error);
            failed(&error)
        })?;
        let Ran { rows, kept, .. } = ran;
        let Lines { json, ended } =
            rows.finish_lines().map_err(|text| Failure::new(FailureKind::InvalidParams, text))?;
        let next = ended.and_then(|ended| {
            let (sent, last) = (place.sent + u64::from(ended.rows), ended.last);
            let place = Place { sent, last, kept, ..*place };
            pager.uri(*format, &place, tool, arguments, request.caller())
        });
        Ok(reply(request, *format, json, shape, next.as_deref()))
    }
}

/// Puts the answer together: one content, and where the page after it is.
fn reply(request: &Request, format: Format, lines: Vec<u8>, shape: &Shape, next: Option<&str>) -> Reply {
    let text = match format {
        Format::Csv => table::csv_of_lines(&lines, shape).into_bytes(),
        Format::JsonLines if lines.is_empty() => lines,
        Format::JsonLines => [&*lines, b"\n"].concat(),
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

fn late() -> Failure {
    Failure::new(FailureKind::DeadlinePassed, "the database did not answer in time; try again later")
}

fn unavailable() -> Failure {
    Failure::new(FailureKind::UpstreamUnavailable, "the database does not answer; try again later")
}

/// Says why the rows could not be had, in no words of the database's.
fn failed(error: &DatabaseError) -> Failure {
    match error {
        DatabaseError::TimedOut { .. } => late(),
        DatabaseError::PoolExhausted { .. } | DatabaseError::Unreachable { .. } => unavailable(),
        DatabaseError::Identity { .. } => {
            Failure::new(FailureKind::Forbidden, "the database does not take this call for its caller")
        }
        DatabaseError::Encoding { message } => Failure::new(FailureKind::Internal, message.clone()),
        _ => Failure::new(FailureKind::Internal, "the statement failed this time; call its tool again"),
    }
}

#[cfg(test)]
mod tests;
