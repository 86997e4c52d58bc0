//! The key an answer is kept under: equal keys have equal answers.
//!
//! It is a SHA-256, whole, over everything an answer can depend on: how the tool is defined and configured, whose question it is, what of
//! the caller its answer is bound to, and the arguments in their one spelling. Each part has its length before it. The revision has no
//! part in it: replies are the same inside, and edges write them for theirs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;
use trunkline_protocol::{Method, write};
use trunkline_service::Request;
use trunkline_service::catalog::Binding;
use trunkline_service::seal::fingerprint;

use super::canonical::Canonical;
use super::file::Scope;
use super::lately::{Lately, Table};
use crate::digest::sha256;

/// A key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Returns its bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns a number below `count`, evenly spread.
    pub(crate) fn spread(&self, count: usize) -> usize {
        usize::from(self.0[31]) % count.max(1)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Key({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // It is a digest: any eight bytes of it are spread evenly.
        let first = self.0.first_chunk().copied().unwrap_or_default();
        state.write_u64(u64::from_le_bytes(first));
    }
}

/// What of a thing goes into the keys of its answers.
#[derive(Debug)]
pub(crate) struct KeyMaker {
    base: [u8; 32],
    scope: Scope,
    binding: Option<Arc<dyn Binding>>,
    canonical: Canonical,
    lately: Arc<Lately>,
}

/// What of a tool decides its answers beside caller and arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defined<'a> {
    /// The kind of request and the name of the thing.
    pub(crate) method: Method,
    pub(crate) name: &'a str,
    /// How its service defines it.
    pub(crate) definition: &'a [u8],
    /// What the file says beside.
    pub(crate) configuration: &'a [u8],
    pub(crate) input_schema: &'a Value,
    pub(crate) output_schema: Option<&'a Value>,
    /// Where what is kept is to be found again: the order of tags is that of their stamps.
    pub(crate) tags: &'a [Box<str>],
}

/// The key of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) key: Key,
    /// Whether the request has its arguments in the spelling that the key was made from.
    pub(crate) as_it_was: bool,
}

/// Changes whenever keys are made from something else, or what is kept has another form.
const VERSION: &[u8] = b"trunkline cache 1";

impl KeyMaker {
    /// Keys of questions that were asked lately are looked for in `lately`, which may be that of all things.
    pub(crate) fn new(
        defined: &Defined<'_>,
        scope: Scope,
        binding: Option<Arc<dyn Binding>>,
        lately: Arc<Lately>,
    ) -> Self {
        let schemas = [
            defined.input_schema.to_string(),
            defined.output_schema.map(Value::to_string).unwrap_or_default(),
        ];
        let tags = fingerprint(defined.tags.iter().map(|tag| tag.as_bytes()));
        let parts = [
            VERSION,
            defined.method.as_str().as_bytes(),
            defined.name.as_bytes(),
            defined.definition,
            defined.configuration,
            schemas[0].as_bytes(),
            schemas[1].as_bytes(),
            &tags,
            &[scope as u8],
        ];
        let canonical = Canonical::of(defined.input_schema);
        Self { base: fingerprint(parts), scope, binding, canonical, lately }
    }

    /// Returns whose questions share an answer.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Makes the key of a request; `None` when its answer must be nobody else's.
    pub(crate) fn make(&self, request: &Request) -> Option<Made> {
        let mut lately = self.lately.mine();
        let Table { text, questions } = &mut *lately;
        text.extend_from_slice(&self.base);
        part(text, |text| self.write_scope(request, text))?;
        part(text, |text| self.binding.as_ref().is_none_or(|binding| binding.write(request, text)))?;
        let start = text.len();
        // Whatever a key is made from is in the text now, as it was sent.
        text.extend_from_slice(asked(request));
        if let Some(made) = questions.find(text) {
            return Some(made);
        }
        let mut whole = Vec::with_capacity(text.len() + 64);
        whole.extend_from_slice(text.get(..start)?);
        let as_it_was = self.write_asked(request, &mut whole)?;
        let made = Made { key: Key(sha256(&whole)), as_it_was };
        questions.keep(text, made);
        Some(made)
    }

    /// Puts the arguments in the spelling that the key was made from into a request.
    pub(crate) fn spell(&self, request: &mut Request) {
        let mut arguments = Vec::with_capacity(request.arguments().len());
        if self.write_asked(request, &mut arguments).is_some() {
            request.set_arguments(&arguments);
        }
    }

    /// What two callers must have in common to share answers, beside all that the answer is bound to. No scopes of theirs: what they
    /// may do was decided before, for each of them, and where an answer depends on scopes, the binding has them.
    fn write_scope(&self, request: &Request, text: &mut Vec<u8>) -> bool {
        let caller = request.caller();
        match self.scope {
            Scope::Public => {}
            Scope::Role => {
                text.push(u8::from(caller.is_local));
                if caller.roles.is_sorted_by(|left, right| left < right) {
                    caller.roles.iter().for_each(|role| write_role(text, role));
                } else {
                    let mut roles: Vec<&str> = caller.roles.iter().map(|role| &**role).collect();
                    roles.sort_unstable();
                    roles.dedup();
                    roles.iter().for_each(|role| write_role(text, role));
                }
            }
            Scope::Caller => text.extend_from_slice(&caller.identity()),
        }
        true
    }

    /// Writes what is asked for, and tells whether the request has it spelled so.
    fn write_asked(&self, request: &Request, text: &mut Vec<u8>) -> Option<bool> {
        if request.method() == Method::ResourcesRead {
            // The router put the canonical spelling in.
            write::string(text, &request.uri()?);
            return Some(true);
        }
        let written = self.canonical.write(request.arguments(), text)?;
        // A cursor is sealed for one caller: whoever else sends it has to be refused, by the service.
        if written.has_cursor && self.scope != Scope::Caller {
            return None;
        }
        Some(written.as_it_was)
    }
}

/// Names of roles hold no zero.
fn write_role(text: &mut Vec<u8>, role: &str) {
    text.extend_from_slice(role.as_bytes());
    text.push(0);
}

/// Returns what is asked for, as it was sent; a URI comes in the one spelling that the router put in.
fn asked(request: &Request) -> &[u8] {
    match request.method() {
        Method::ResourcesRead => request.uri_token().raw(request.body()),
        _ => request.arguments(),
    }
}

/// Writes a part with its length before it; `None` when it cannot be told.
fn part(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<()> {
    let at = text.len();
    text.extend_from_slice(&[0; 8]);
    let known = write(text);
    let length = (text.len() - at - 8) as u64;
    text.get_mut(at..at + 8)?.copy_from_slice(&length.to_be_bytes());
    known.then_some(())
}

#[cfg(test)]
pub(super) mod tests;
