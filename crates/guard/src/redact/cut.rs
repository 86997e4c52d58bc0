//! Bounds how much leaves with a result, and says so: whole rows are left out of what has rows, texts are cut at a character, pictures
//! and sounds give way to a line that names them. What cannot be cut without breaking the form that its tool promised becomes an
//! error that tells what to ask for.

mod blocks;
mod rows;

use serde_json::Value;
use trunkline_protocol::Method;
use trunkline_protocol::json::{Kind, Token};
use trunkline_service::Reply;

use super::content::{Unreadable, composed, members};

/// The bound of one tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Most bytes of a result, as JSON.
    pub(super) max: usize,
    /// What its tool promised of structured content.
    pub(super) promise: Promise,
}

/// What a tool promised of its structured content, so far as cutting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing: it may be left out.
    Nothing,
    /// Rows, of which some may be missing when `truncated` says so.
    Rows,
    /// Something else, which is there whole or not at all.
    Whole,
}

impl Promise {
    pub(super) fn of(schema: Option<&Value>) -> Self {
        let Some(schema) = schema else { return Self::Nothing };
        let property = |name: &str| schema.get("properties").and_then(|all| all.get(name));
        let rows = property("rows");
        let has_rows = rows.is_some_and(|rows| rows.get("minItems").is_none());
        let may_say = property("truncated").is_some()
            || schema.get("additionalProperties").is_none_or(|more| *more != Value::Bool(false));
        if has_rows && may_say { Self::Rows } else { Self::Whole }
    }
}

/// Room for what is said about the cut.
const NOTE: usize = 640;

impl Bound {
    /// Cuts a reply that is too large; `None` where it is small enough.
    pub(super) fn cut(&self, reply: &Reply, method: Method) -> Result<Option<Reply>, Unreadable> {
        let size = reply.members().len();
        if size <= self.max {
            return Ok(None);
        }
        let text = std::str::from_utf8(reply.members()).map_err(|_| Unreadable)?;
        let object = format!("{{{text}}}");
        let found = members(&object)?;
        let whole = Whole { object: &object, members: &found, size, max: self.max };
        match method {
            Method::ToolsCall => self.tool(reply, &whole).map(Some),
            Method::ResourcesRead => {
                blocks::contents(&whole).map(|values| Some(composed(copy(reply), &object, &found, values)))
            }
            Method::PromptsGet => {
                blocks::messages(&whole).map(|values| Some(composed(copy(reply), &object, &found, values)))
            }
            _ => Ok(None),
        }
    }

    fn tool(&self, reply: &Reply, whole: &Whole<'_>) -> Result<Reply, Unreadable> {
        let structured = whole.get("structuredContent");
        if let Some(token) = structured
            && self.promise != Promise::Whole
            && let Some(found) = rows::Rows::find(whole, token)?
        {
            return match found.cut(whole)? {
                Some((values, kept)) => {
                    Ok(composed(copy(reply), whole.object, whole.members, values).with_rows(kept))
                }
                None => Ok(refusal(whole)),
            };
        }
        if structured.is_some() && self.promise != Promise::Nothing {
            return Ok(refusal(whole));
        }
        blocks::content(whole).map(|(members, values)| composed(copy(reply), whole.object, &members, values))
    }
}

/// A reply that is too large.
pub(super) struct Whole<'t> {
    pub(super) object: &'t str,
    pub(super) members: &'t [(String, Token)],
    pub(super) size: usize,
    pub(super) max: usize,
}

impl<'t> Whole<'t> {
    pub(super) fn get(&self, name: &str) -> Option<Token> {
        self.members
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, token)| *token)
            .filter(|token| token.kind != Kind::Null)
    }

    pub(super) fn raw(&self, token: Token) -> &'t str {
        token.span.of_str(self.object)
    }
}

/// What a reply is beside its members.
fn copy(reply: &Reply) -> Reply {
    reply.without_members()
}

fn refusal(whole: &Whole<'_>) -> Reply {
    Reply::tool_error(&format!(
        "the result has {} bytes, more than the {} that may be sent, and none of it can be left out without breaking its form; ask for \
         less with narrower arguments, or have the operator raise `max-result`",
        whole.size, whole.max
    ))
}

/// Returns as much of a text as takes so many bytes in a JSON string, ended at a character.
pub(super) fn fitting(text: &str, room: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, sign)| {
        taken += match sign {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            sign if sign.is_control() && sign.is_ascii() && *sign != '\u{7f}' => 6,
            sign => sign.len_utf8(),
        };
        taken > room
    });
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

#[cfg(test)]
mod tests;
