//! One section of `[auth]` at work: `[auth.jwt.NAME]` judges signed tokens of its issuer, `[auth.introspection.NAME]` asks
//! about all others.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;
use trunkline_service::caller::{Caller, Proof};

use super::claims::{Expected, Said, check, subject};
use super::fault::Fault;
use super::file::{Introspection, Jwt};
use super::generation::Generation;
use super::introspection::Introspector;
use super::issuer::Issuer;
use super::memory::Digest;
use super::token::SignedToken;

/// The kinds of token that are accepted: plain ones and access tokens by RFC 9068. RFC 8725 section 3.11.
const KINDS: [&str; 2] = ["jwt", "at+jwt"];

/// `[auth.jwt.NAME]`.
#[derive(Debug)]
pub(crate) struct Signed {
    section: Jwt,
    /// The key of the section below `auth`.
    path: Box<str>,
    pub(crate) issuer: Arc<Issuer>,
}

/// Makes the sections; those that say the same of an issuer share it and its keys.
pub(crate) fn signed_sections(sections: &[Jwt], generation: &Generation) -> Vec<Signed> {
    let mut issuers: Vec<Arc<Issuer>> = Vec::new();
    let make = |section: &Jwt| {
        let known = issuers.iter().find(|issuer| *issuer.source() == section.source);
        let issuer = known.map(Arc::clone).unwrap_or_else(|| {
            let issuer = Arc::new(Issuer::new(section.source.clone(), generation.clone()));
            issuers.push(Arc::clone(&issuer));
            issuer
        });
        Signed { path: format!("jwt.{}", section.name).into(), section: section.clone(), issuer }
    };
    sections.iter().map(make).collect()
}

impl Signed {
    pub(crate) fn name(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        *self.section.name == *name
    }

    /// Tells whether it judges tokens of that issuer: to the byte, RFC 7519 section 4.1.1.
    pub(crate) fn is_of(&self, issuer: &str) -> bool {
        *self.section.source.issuer == *issuer
    }

    /// Judges a token of its issuer: first what costs little, so that nobody is asked for the keys of a token that is over.
    pub(crate) async fn judge(&self, token: &SignedToken<'_>, now: u64) -> Result<Caller, Fault> {
        if !self.section.algorithms.is_empty() && !self.section.algorithms.contains(&token.algorithm) {
            return Err(Fault::Algorithm);
        }
        let kind = token.kind.as_deref();
        let is_accepted = match self.section.typ.as_deref() {
            Some(wanted) => kind == Some(wanted),
            None => kind.is_none_or(|kind| KINDS.contains(&kind)),
        };
        if !is_accepted {
            return Err(Fault::Type);
        }
        let expected = Expected {
            audience: &self.section.audience,
            leeway: self.section.leeway.as_secs(),
            may_last: false,
        };
        let said = check(&token.claims, &expected, now)?;
        // RFC 9068 section 2.2 has it for clients without a user too; nothing else is taken for a name.
        let subject = subject(&token.claims, "sub")?.ok_or(Fault::Subject)?;
        self.issuer.verify(token).await?;
        let issuer = self.section.source.issuer.clone();
        Ok(caller(issuer, subject, &token.claims, said, &self.section.name))
    }
}

/// `[auth.introspection.NAME]`.
#[derive(Debug)]
pub(crate) struct Introspected {
    section: Introspection,
    path: Box<str>,
    introspector: Arc<Introspector>,
}

/// Makes the sections; their questions are tasks of `tasks`.
pub(crate) fn introspected_sections(sections: &[Introspection], tasks: &TaskTracker) -> Vec<Introspected> {
    let make = |section: &Introspection| {
        let (url, authorization) = (section.url.clone(), section.authorization.clone());
        let introspector = Introspector::new(url, authorization, section.cache, tasks.clone());
        Introspected {
            path: format!("introspection.{}", section.name).into(),
            section: section.clone(),
            introspector: Arc::new(introspector),
        }
    };
    sections.iter().map(make).collect()
}

impl Introspected {
    pub(crate) fn name(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        *self.section.name == *name
    }

    pub(crate) fn cache(&self) -> Duration {
        self.section.cache
    }

    /// Tells whether it may be asked about a token that names that issuer, or none.
    pub(crate) fn may_judge(&self, issuer: Option<&str>) -> bool {
        match (issuer, self.section.issuer.as_deref()) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        }
    }

    /// Asks about a token and judges the answer.
    pub(crate) async fn judge(&self, token: &str, digest: Digest, now: u64) -> Result<Caller, Fault> {
        let answer = self.introspector.ask(token, digest).await?;
        let judged = self.judge_answer(&answer, now);
        if let Err(fault) = judged {
            self.introspector.refuse(digest, fault);
        }
        judged
    }

    fn judge_answer(&self, answer: &Map<String, Value>, now: u64) -> Result<Caller, Fault> {
        let text = |issuer: &'_ Value| issuer.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let said_issuer = answer.get("iss").map(|issuer| text(issuer).ok_or(Fault::Issuer)).transpose()?;
        let issuer = match (said_issuer.as_deref(), self.section.issuer.as_deref()) {
            (Some(said), Some(own)) if said != own => return Err(Fault::Issuer),
            (Some(said), _) => said,
            (None, Some(own)) => own,
            // Every caller by token has an issuer, or it could be taken for the owner of a key.
            (None, None) => self.section.url.as_str(),
        };
        let kind = answer.get("token_type").and_then(Value::as_str);
        if kind.is_some_and(|kind| {
            !kind.eq_ignore_ascii_case("bearer") && !kind.eq_ignore_ascii_case("access_token")
        }) {
            return Err(Fault::Bound);
        }
        let expected = Expected {
            audience: &self.section.audience,
            leeway: self.section.leeway.as_secs(),
            may_last: true,
        };
        let mut said = check(answer, &expected, now)?;
        // An answer about a client without a user often has no `sub`.
        let subject = match subject(answer, "sub")? {
            Some(subject) => subject,
            None => subject(answer, "client_id")?.ok_or(Fault::Subject)?,
        };
        // Believed for so long; then somebody is asked again.
        let asked_again = now.saturating_add(self.section.cache.as_secs().max(1));
        said.ends = Some(said.ends.map_or(asked_again, |ends| ends.min(asked_again)));
        Ok(caller(issuer.into(), subject, answer, said, &self.section.name))
    }
}

fn caller(
    issuer: Box<str>,
    subject: Box<str>,
    claims: &Map<String, Value>,
    said: Said,
    section: &str,
) -> Caller {
    Caller {
        issuer: Some(issuer),
        subject,
        claims: claims.clone(),
        scopes: said.scopes,
        proof: Proof::Token { section: section.into() },
        expires: said.ends,
        ..Caller::default()
    }
}
