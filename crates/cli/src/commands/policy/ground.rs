//! What a policy is asked over: the file's roles and the things that its connectors have, as far as they can be known.

use std::path::Path;
use std::sync::Arc;

use trunkline_guard::authorize::Explainer;
use trunkline_sql::Severity;

use crate::assemble::{self, Served};
use crate::commands::check::Checked;
use crate::config::{self, Config, Diagnostic, Edge};
use crate::exit::{Code, Failed, chain};
use crate::output;

/// A file whose policy can be asked.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) explainer: Explainer,
    pub(crate) config: Config,
    pub(crate) served: Vec<Served>,
}

impl Ground {
    /// Reads the file and looks at its connectors; `offline` leaves them alone. What is wrong with it is on stderr when this
    /// returns `None`. A connector that does not answer is told of, and its tools are taken as the file declares them.
    ///
    /// # Errors
    /// There is no such file, or the system gives no randomness.
    pub(crate) async fn of(path: &Path, offline: bool) -> anyhow::Result<Option<Self>> {
        let loaded = config::load(path, Edge::Http(None))
            .map_err(|error| Failed::new(Code::Configuration, chain(&error)))?;
        let checked = Checked::of(loaded, offline).await?;
        let is_wrong = |problem: &Diagnostic| problem.severity == Severity::Wrong;
        if checked.problems.iter().any(is_wrong) {
            let wrong: Vec<Diagnostic> = checked.problems.into_iter().filter(is_wrong).collect();
            output::diagnostics(&wrong, &checked.document);
            return Ok(None);
        }
        // Whether issuers and stores of keys answer is not asked here.
        let is_silent = |problem: &&Diagnostic| {
            problem.severity == Severity::Unavailable && problem.key.starts_with("connectors.")
        };
        for silent in checked.problems.iter().filter(is_silent) {
            output::line(&format!(
                "warning: {}; its tools are taken as the file declares them",
                checked.document.clean(silent.message.clone())
            ));
        }
        let (config, served, sealer) = checked.into_parts();
        let catalog = assemble::catalog(&config.tools, &served, &sealer)
            .map_err(|error| Failed::new(Code::Configuration, chain(&error)))?;
        let explainer = Explainer::new(Arc::clone(&config.guards.policy), catalog);
        Ok(Some(Self { explainer, config, served }))
    }

    /// Fails for a role that the file does not declare.
    ///
    /// # Errors
    /// Usage: there is no such role; the nearest one is told.
    pub(crate) fn known_role(&self, role: &str) -> Result<(), Failed> {
        let policy = self.explainer.policy();
        if policy.role_names().any(|known| known == role) {
            return Ok(());
        }
        let names: Vec<&str> = policy.role_names().collect();
        let help = match trunkline_service::nearest(role, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => {
                "the file declares no roles, so that everybody may use everything".to_owned()
            }
            None => format!("the roles are `{}`", names.join("`, `")),
        };
        Err(Failed::new(Code::Usage, format!("there is no role `{role}`; {help}")))
    }
}
