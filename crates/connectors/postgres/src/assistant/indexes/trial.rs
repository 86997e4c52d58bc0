//! Tries candidates as hypothetical indexes of HypoPG: the statement is planned again with each, and the best stay.

use super::candidates::Candidate;
use super::name::quoted;
use crate::assistant::Asked;
use crate::assistant::answer::Fault;
use crate::assistant::plan;
use crate::assistant::session::ReadSession;
use crate::survey::literal;

/// What came of it.
#[derive(Debug)]
pub(super) struct Tried<'a> {
    /// The cost without any.
    pub(super) before: f64,
    /// How many were tried.
    pub(super) count: usize,
    /// The best, each on top of the ones before it.
    pub(super) chosen: Vec<Chosen<'a>>,
}

/// One that makes the statement cheaper.
#[derive(Debug, Clone)]
pub(super) struct Chosen<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) before: f64,
    pub(super) after: f64,
    pub(super) bytes: Option<i64>,
}

/// Tries all in one transaction on a connection that is closed afterwards, so that no other caller's plans ever see them.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run<'a>(
    asked: &Asked<'_>,
    schema: &str,
    explain: &str,
    candidates: &'a [Candidate],
) -> Result<Tried<'a>, Fault> {
    let undo = format!("select {}.hypopg_reset()", quoted(schema));
    let mut session = ReadSession::begin(asked).await?;
    session.undo_with(&undo);
    let bench = Bench { session: &session, schema: quoted(schema), explain };
    let tried = bench.search(candidates).await;
    session.end(&undo).await;
    tried
}

struct Bench<'s, 'a> {
    session: &'s ReadSession<'a>,
    /// The schema of HypoPG.
    schema: String,
    explain: &'s str,
}

impl Bench<'_, '_> {
    /// Takes the best, then the best on top of it, while each makes the statement a tenth cheaper.
    async fn search<'c>(&self, candidates: &'c [Candidate]) -> Result<Tried<'c>, Fault> {
        let before = self.cost().await?;
        let mut tried = Tried { before, count: candidates.len(), chosen: Vec::new() };
        for _ in 0..MOST_CHOSEN {
            let before = tried.chosen.last().map_or(before, |chosen| chosen.after);
            let mut best: Option<Chosen<'c>> = None;
            for candidate in candidates {
                if tried.chosen.iter().any(|chosen| chosen.candidate == candidate) {
                    continue;
                }
                let after = self.cost_with(&tried.chosen, candidate).await?;
                // Candidates come with the narrow ones first.
                if best.as_ref().is_none_or(|best| after.0 < best.after * 0.98) {
                    best = Some(Chosen { candidate, before, after: after.0, bytes: after.1 });
                }
            }
            match best {
                Some(best) if best.after < before * WORTH => tried.chosen.push(best),
                _ => break,
            }
        }
        Ok(tried)
    }

    async fn cost_with(
        &self,
        chosen: &[Chosen<'_>],
        candidate: &Candidate,
    ) -> Result<(f64, Option<i64>), Fault> {
        self.session.text(&format!("select 'done'::text from {}.hypopg_reset()", self.schema)).await?;
        for one in chosen {
            self.make(one.candidate).await?;
        }
        let bytes = self.make(candidate).await?;
        Ok((self.cost().await?, bytes))
    }

    /// Makes one on each place, and returns how large they would be.
    async fn make(&self, candidate: &Candidate) -> Result<Option<i64>, Fault> {
        let mut bytes = None;
        for (schema, table) in &candidate.places {
            let statement = format!(
                "create index on {}.{} ({})",
                quoted(schema),
                quoted(table),
                candidate.keys().join(", ")
            );
            let sql = format!(
                "select {0}.hypopg_relation_size(made.indexrelid)::text from {0}.hypopg_create_index({1}) made",
                self.schema,
                literal(&statement)
            );
            let size: Option<i64> = self.session.text(&sql).await?.and_then(|text| text.parse().ok());
            bytes = Some(bytes.unwrap_or(0) + size.unwrap_or(0));
        }
        Ok(bytes)
    }

    async fn cost(&self) -> Result<f64, Fault> {
        let text = self.session.text(self.explain).await?;
        let explained = text.as_deref().and_then(plan::read);
        explained
            .map(|(_, explained)| explained.plan.cost)
            .ok_or_else(|| Fault::Said("the plan is nested too deeply to be read".to_owned()))
    }
}

/// The second one already seldom pays.
const MOST_CHOSEN: usize = 2;

/// An index has to make the statement so much cheaper to be worth its keep.
const WORTH: f64 = 0.9;
