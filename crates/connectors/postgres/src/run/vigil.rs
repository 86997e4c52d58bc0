//! Leaves a node that gives no answer at all: a read that waits there for long keeps an eye on what those who look at the
//! nodes find, and goes on elsewhere once it is told that nothing answers. A statement that only takes its time is left alone,
//! since its node answers others.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use trunkline_service::Caller;
use trunkline_sql::{Access, Rows};

use crate::node::Node;
use crate::nodes::{Nodes, Route};
use crate::run::Call;

/// What tells that a read should leave its node.
#[derive(Debug)]
pub(super) struct Vigil<'a> {
    nodes: &'a Nodes,
    node: &'a Node,
    caller: &'a Caller,
    route: Route,
}

impl<'a, W: Rows> Call<'a, W> {
    /// Begins to watch the node that the read is on; `None` where it could go nowhere else.
    pub(super) fn vigil(&self) -> Option<Vigil<'a>> {
        let nodes = &self.postgres.nodes;
        let may_leave = nodes.has_replicas()
            && self.statement.access == Access::ReadOnly
            && !self.statement.needs_primary();
        may_leave.then(|| Vigil {
            nodes,
            node: self.place.node(),
            caller: &self.behalf.caller,
            route: self.route.clone(),
        })
    }
}

/// Waits for the work; `None` when its node was found silent first and another can do it. The work is to be dropped then,
/// which cuts its connection off.
///
/// # Cancel safety
/// That of the work.
pub(super) async fn unless_silent<F: Future>(
    vigil: Option<Vigil<'_>>,
    mut work: Pin<&mut F>,
) -> Option<F::Output> {
    let Some(Vigil { nodes, node, caller, route }) = vigil else { return Some(work.await) };
    let mut silent = pin!(nodes.silent(node, &route, caller));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => silent.as_mut().poll(context).map(|()| None),
    })
    .await
}
