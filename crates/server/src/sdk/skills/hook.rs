//! How a server gets its skills, and how they are read again while it runs.

use serde_json::json;

use super::{EXTENSION, Skills, SkillsChange, SkillsError};
use crate::sdk::{ChangeError, Extension, Server, ServerHandle};

impl Server {
    /// Serves a folder of skills by the extension `io.modelcontextprotocol/skills`: a path, or [`Skills`] that were read before.
    /// What is wrong with the folder is told when the server is built.
    ///
    /// ```no_run
    /// use trunkline_server::sdk::Server;
    /// use trunkline_server::sdk::skills::Skills;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::new("guide", "1.0.0").skills("skills").build()?;
    ///
    /// // Kept, to be read again later.
    /// let skills = Skills::from_folder("skills")?;
    /// let server = Server::new("guide", "1.0.0").skills(skills.clone()).build()?;
    /// # Ok(()) }
    /// ```
    pub fn skills<S>(self, skills: S) -> Self
    where
        S: TryInto<Skills, Error: Into<SkillsError>>,
    {
        match skills.try_into() {
            Ok(skills) => self.extension(skills.extension()),
            Err(error) => self.fail(error.into().to_string()),
        }
    }
}

impl Skills {
    /// Returns the extension that serves the skills.
    pub fn extension(&self) -> Extension {
        let skills = self.clone();
        Extension::new(EXTENSION)
            .settings(json!({ "directoryRead": true }))
            .parts(move |sealer| skills.parts(sealer))
    }
}

impl ServerHandle {
    /// Reads the folder of the skills again, serves what is there now, and tells clients: those that follow the list of
    /// resources when anything is another, those that follow a file when it is another. On other nodes the folder has to be
    /// read again by them.
    ///
    /// # Errors
    /// [`ReloadError::Skills`] with everything that is wrong in the folder: what is served stays as it was.
    ///
    /// # Cancel safety
    /// Once begun it is brought to its end, even when nobody waits for it.
    pub async fn reload_skills(&self, skills: &Skills) -> Result<SkillsChange, ReloadError> {
        let (handle, skills) = (self.clone(), skills.clone());
        let reload = move || {
            let (change, is_listed_anew) = skills.read_again()?;
            if is_listed_anew {
                handle.refresh()?;
            } else if !change.is_empty() {
                // Nothing else tells hosts to ask for the entries again.
                handle.resources_changed();
            }
            change.files.iter().for_each(|uri| handle.resource_updated(uri));
            Ok(change)
        };
        // It ends without a result only when the runtime goes down before it began.
        tokio::task::spawn_blocking(reload).await.unwrap_or(Err(ReloadError::Server(ChangeError::Stopped)))
    }
}

/// Why skills were not read again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Something is wrong in the folder; what was served before is served still.
    #[error(transparent)]
    Skills(#[from] SkillsError),
    /// The server could not list its resources anew.
    #[error(transparent)]
    Server(#[from] ChangeError),
}
