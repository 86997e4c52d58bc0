//! Answers the methods of the extension and reads of skill files from the snapshot of the moment.

use std::fmt;
use std::sync::Arc;

use trunkline_protocol::Method;
use trunkline_service::seal::Sealer;
use trunkline_service::{Answer, Failure, FailureKind, Outcome, Reply, Request, Service, ready};

use super::Skills;
use super::listing::Listing;

/// The longest part of a URI that an error repeats, in characters.
const SHOWN: usize = 200;

/// The one service behind all skills.
pub(super) struct SkillService {
    skills: Skills,
    sealer: Arc<Sealer>,
}

impl fmt::Debug for SkillService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SkillService").field("skills", &self.skills).finish_non_exhaustive()
    }
}

impl Service for SkillService {
    fn call(&self, request: Request) -> Answer<'_> {
        ready(match request.method() {
            Method::ResourcesRead => self.read(&request),
            Method::SkillsList => self.list(&request),
            Method::SkillsGet => self.get(&request),
            Method::ResourcesDirectoryRead => self.read_directory(&request),
            _ => Err(Failure::new(FailureKind::MethodNotFound, "method not found")),
        })
    }
}

impl SkillService {
    pub(super) fn new(skills: Skills, sealer: Arc<Sealer>) -> Self {
        Self { skills, sealer }
    }

    fn read(&self, request: &Request) -> Outcome {
        let uri = uri(request)?;
        match self.skills.now().files.get(&*uri) {
            Some(file) => Ok(Reply::from_shared(file.members.clone()).with_hints(self.skills.hints)),
            None => Err(Failure::resource_not_found(&uri)),
        }
    }

    fn list(&self, request: &Request) -> Outcome {
        self.page(request, &self.skills.now().list)
    }

    fn get(&self, request: &Request) -> Outcome {
        let uri = uri(request)?;
        let now = self.skills.now();
        let entry = now.entry(&uri).ok_or_else(|| {
            let uri = shown(&uri);
            invalid(format!(
                "no skill is served at `{uri}`; `skills/list` tells which are, by the URI of their `SKILL.md`"
            ))
        })?;
        let members = [b"\"skill\":", entry].concat();
        Ok(Reply::from_members(members).with_hints(self.skills.hints))
    }

    fn read_directory(&self, request: &Request) -> Outcome {
        let uri = uri(request)?;
        let now = self.skills.now();
        match now.folders.get(&*uri) {
            Some(listing) => self.page(request, listing),
            None if now.files.contains_key(&*uri) => Err(invalid(format!(
                "`{}` is a file, not a directory; read it with `resources/read`",
                shown(&uri)
            ))),
            None => Err(invalid(format!(
                "there is no directory `{}`; one is named without a slash at its end, as in `skill://<skill>/<folder>`",
                shown(&uri)
            ))),
        }
    }

    fn page(&self, request: &Request, listing: &Listing) -> Outcome {
        let token = request.cursor();
        let cursor = token.text(request.body());
        if !token.is_nothing() && cursor.is_none() {
            return Err(invalid("`cursor` must be a string"));
        }
        let page = listing.page(cursor.as_deref(), self.skills.page_size, &self.sealer).map_err(|error| {
            Failure::new(FailureKind::Internal, "no cursor could be made").with_source(error)
        })?;
        let page = page.ok_or_else(|| {
            invalid("this cursor is unknown, or the list has changed since; start again without a cursor")
        })?;
        Ok(Reply::from_members(page).with_hints(self.skills.hints))
    }
}

fn uri(request: &Request) -> Result<std::borrow::Cow<'_, str>, Failure> {
    request.uri().ok_or_else(|| invalid("`uri` must be a URI, a string"))
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(FailureKind::InvalidParams, text.into())
}

fn shown(uri: &str) -> String {
    uri.chars().take(SHOWN).collect()
}
