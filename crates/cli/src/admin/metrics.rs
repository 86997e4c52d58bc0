//! `/metrics`: what everybody counted, in the format that the scraper asks for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use trunkline_guard::record::Recorder;
use trunkline_postgres::{NodeState, PoolStatus};
use trunkline_service::meter::{Format, Meter as _, Page};

use super::{Admin, process};
use crate::assemble::Served;

pub(super) async fn page(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let format = format(&headers);
    let mut page = Page::in_format(format);
    admin.meters.read(&mut page);
    connectors(&admin.served.load(), &mut page);
    if let Some(recorder) = &admin.recorder {
        record(recorder, &mut page);
    }
    process::read(&mut page);
    ([(CONTENT_TYPE, format.media_type())], page.into_text()).into_response()
}

/// Returns OpenMetrics where it is asked for by name and not as the worse choice; the older text for everybody else.
fn format(headers: &HeaderMap) -> Format {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for one in values.flat_map(|value| value.split(',')) {
        let mut parts = one.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
        let weight = weight.unwrap_or(0.0);
        if name.eq_ignore_ascii_case("application/openmetrics-text") {
            open = open.max(weight);
        } else if name.eq_ignore_ascii_case("text/plain") {
            plain = plain.max(weight);
        }
    }
    if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
}

/// Writes how the connectors are: as last seen, nothing is asked of a database for a scrape.
fn connectors(served: &[Served], page: &mut Page) {
    for one in served {
        let labels = [("connector", one.name.as_str()), ("type", one.kind)];
        let help = "Whether every statement of the connector is prepared.";
        page.gauge("trunkline_connector_ready", help, &labels, f64::from(u8::from(one.source.is_ready())));
        for node in one.source.nodes() {
            let labels = [("connector", one.name.as_str()), ("node", node.label.as_str())];
            for (state, word) in STATES {
                let help = "Which state a server of the connector is in, as last seen.";
                let [connector, name] = labels;
                let labels = [connector, name, ("state", word)];
                page.gauge(
                    "trunkline_connector_node",
                    help,
                    &labels,
                    f64::from(u8::from(node.state == state)),
                );
            }
            pool(&node.pool, &labels, page);
            if let Some(lag) = node.lag {
                let help = "How far a replica is behind its primary.";
                page.gauge("trunkline_connector_lag_seconds", help, &labels, lag.as_secs_f64());
            }
        }
    }
}

/// Writes of the connections for statements that need one of their own.
fn pool(pool: &PoolStatus, labels: &[(&str, &str)], page: &mut Page) {
    let gauges = [
        ("trunkline_connector_pool_size", "How many connections of their own calls may have.", pool.size),
        ("trunkline_connector_pool_open", "How many of these connections there are.", pool.open),
        ("trunkline_connector_pool_in_use", "How many of these places calls take.", pool.in_use),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, labels, f64::from(value));
    }
    let help = "Calls that waited for such a connection.";
    page.counter("trunkline_connector_pool_waits_total", help, labels, pool.waited.waits);
    let help = "How long calls waited for such a connection, all together.";
    page.seconds(
        "trunkline_connector_pool_wait_seconds_total",
        help,
        labels,
        pool.waited.total.as_secs_f64(),
    );
}

const STATES: [(NodeState, &str); 5] = [
    (NodeState::Healthy, "healthy"),
    (NodeState::Lagging, "lagging"),
    (NodeState::Detached, "detached"),
    (NodeState::Down, "down"),
    (NodeState::Unseen, "unseen"),
];

/// Writes what the record came to. Of the head only the number: whoever keeps what was scraped can tell later that the end of a
/// record was cut off. Its MAC, another one with every line, would make a series of every scrape; the log tells it each minute.
fn record(recorder: &Recorder, page: &mut Page) {
    let (counts, head) = (recorder.counts(), recorder.head());
    let help = "Whether lines of the record can be written.";
    page.gauge("trunkline_audit_working", help, &[], f64::from(u8::from(recorder.is_working())));
    let counters = [
        ("trunkline_audit_lines_total", "Lines of the record that are written.", counts.lines),
        ("trunkline_audit_lost_total", "Lines of the record that were lost.", counts.lost),
        ("trunkline_audit_failures_total", "Times that writing the record failed.", counts.failures),
        (
            "trunkline_audit_refused_total",
            "Requests refused since the record could not be written.",
            counts.refused,
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, &[], value);
    }
    let help = "The number of the last line of the record.";
    #[expect(clippy::cast_precision_loss, reason = "no record has 2^53 lines")]
    page.gauge("trunkline_audit_head_seq", help, &[], head.seq as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let of = |accept: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            format(&headers)
        };
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(of(prometheus_2), Format::OpenMetrics);
        assert_eq!(of("application/openmetrics-text"), Format::OpenMetrics);
        for other in [
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "text/plain, application/openmetrics-text;q=0.1",
            "application/json;q=x",
        ] {
            assert_eq!(of(other), Format::Prometheus, "{other}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Prometheus);
    }
}
