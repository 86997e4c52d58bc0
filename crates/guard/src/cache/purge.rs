//! Throwing away what is kept because somebody says so.

use trunkline_service::nearest;

use super::Cache;
use super::meter::Teller;
use super::tags::Named;

/// What is to be thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// What is kept of a tool.
    Tool(String),
    /// What is kept of a connector: of its tools and its resources.
    Connector(String),
    /// What is kept under a tag of the file.
    Tag(String),
}

/// Why it was not thrown away, or not everywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PurgeError {
    /// Nothing that is kept has that name.
    #[error("no {kind} whose answers are kept is named `{name}`{}", Hint(.near))]
    Unknown {
        /// `tool`, `connector` or `tag`.
        kind: &'static str,
        /// The name, as it was given.
        name: String,
        /// The one that was probably meant.
        near: Option<String>,
    },
    /// This node threw it away; the store that other nodes hear of it through does not answer.
    #[error(
        "this node gives it out no longer, but the store did not answer, so that other nodes are told later"
    )]
    Untold,
}

struct Hint<'a>(&'a Option<String>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(near) => write!(f, "; did you mean `{near}`?"),
            None => Ok(()),
        }
    }
}

impl Purge {
    fn named(&self) -> (&'static str, &str, Named<'_>) {
        match self {
            Self::All => ("all", "", Named::All),
            Self::Tool(name) => ("tool", name, Named::Tool(name)),
            Self::Connector(name) => ("connector", name, Named::Connector(name)),
            Self::Tag(name) => ("tag", name, Named::Tag(name)),
        }
    }
}

impl Cache {
    /// Throws away what is kept, on this node at once and on all others that share a store.
    ///
    /// # Errors
    /// [`PurgeError::Unknown`] when nothing has the name; [`PurgeError::Untold`] when other nodes are told later.
    ///
    /// # Cancel safety
    /// Dropped, other nodes may not be told.
    pub async fn purge(&self, what: &Purge) -> Result<(), PurgeError> {
        let (kind, name, named) = what.named();
        let Some(tag) = self.tags.find(named) else {
            let shown: String = name.chars().take(64).collect();
            return Err(PurgeError::Unknown { kind, near: self.nearest(kind, &shown), name: shown });
        };
        if self.changed(&[tag], Teller::Operator).await { Ok(()) } else { Err(PurgeError::Untold) }
    }

    fn nearest(&self, kind: &str, name: &str) -> Option<String> {
        let all = self.tags.all();
        let of_kind = all.iter().filter_map(|tag| tag.name().strip_prefix(kind)?.strip_prefix(':'));
        nearest(name, of_kind).map(str::to_owned)
    }
}
