//! Cuts what has no rows: blocks of content, contents of resources, messages of prompts. What comes first is kept whole as long as
//! there is room.

use trunkline_protocol::json::Token;

use super::{NOTE, Whole, fitting};
use crate::redact::content::{Unreadable, elements, members};
use crate::redact::rewrite::{applied, quoted, range};

/// Texts shorter than that are left out rather than cut.
const WORTH: usize = 96;

/// Values of a reply's members, `None` for those that stay.
type Values = Vec<Option<String>>;

/// Cuts the blocks of a tool's result. Structured content that nothing was promised of is left out.
pub(super) fn content(whole: &Whole<'_>) -> Result<(Vec<(String, Token)>, Values), Unreadable> {
    let kept: Vec<(String, Token)> =
        whole.members.iter().filter(|(name, _)| name != "structuredContent").cloned().collect();
    let dropped = whole.get("structuredContent").map_or(0, |token| whole.raw(token).len() + 21);
    let values = kept.iter().map(|(name, token)| match name.as_str() {
        "content" => blocks(whole, whole.raw(*token), dropped).map(Some),
        _ => Ok(None),
    });
    let values = values.collect::<Result<_, _>>()?;
    Ok((kept, values))
}

fn blocks(whole: &Whole<'_>, raw: &str, dropped: usize) -> Result<String, Unreadable> {
    let found = elements(raw)?;
    let outside = whole.size.saturating_sub(raw.len() + dropped);
    // Ways to the rest go before all else.
    let is_link = |block: &str| block.contains("\"resource_link\"");
    let links: usize = found
        .iter()
        .map(|token| token.span.of_str(raw))
        .filter(|block| is_link(block))
        .map(|block| block.len() + 1)
        .sum();
    let mut room = whole.max.saturating_sub(outside + links + NOTE);
    let (mut out, mut missing) = (Vec::with_capacity(found.len() + 1), 0_usize);
    for token in found {
        let block = token.span.of_str(raw);
        if is_link(block) {
            out.push(block.to_owned());
            continue;
        }
        if let Some(rest) = room.checked_sub(block.len() + 1) {
            room = rest;
            out.push(block.to_owned());
            continue;
        }
        missing += 1;
        if let Some(other) = block_within(block, room) {
            room = room.saturating_sub(other.len() + 1);
            out.push(other);
        }
    }
    if missing > 0 || dropped > 0 {
        out.push(format!(r#"{{"type":"text","text":{}}}"#, quoted(&note(whole, missing))));
    }
    Ok(format!("[{}]", out.join(",")))
}

fn note(whole: &Whole<'_>, missing: usize) -> String {
    let (size, max) = (whole.size, whole.max);
    let parts = if missing == 1 { "1 part is".to_owned() } else { format!("{missing} parts are") };
    format!(
        "truncated: the result has {size} bytes, more than the {max} that may be sent, so that {parts} cut or left out; ask for less at a \
         time with narrower arguments"
    )
}

/// Returns a block in the place of one that is too large; `None` when there is no room for any.
fn block_within(block: &str, room: usize) -> Option<String> {
    let found = members(block).ok()?;
    let get = |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, token)| *token);
    let string = |token: Token| serde_json::from_str::<String>(token.span.of_str(block)).ok();
    let kind = get("type").and_then(string)?;
    if kind == "text" {
        let token = get("text")?;
        let around = block.len() - token.span.of_str(block).len();
        let text = cut_text(&string(token)?, room.checked_sub(around)?)?;
        return applied(block, vec![(range(token), quoted(&text))]);
    }
    if kind == "resource" {
        let token = get("resource")?;
        let around = block.len() - token.span.of_str(block).len();
        let other = resource_within(token.span.of_str(block), room.checked_sub(around)?)?;
        return applied(block, vec![(range(token), other)]);
    }
    let mime = get("mimeType").and_then(string).unwrap_or_else(|| kind.clone());
    let bytes = get("data").map_or(block.len(), |data| data.span.of_str(block).len() / 4 * 3);
    let mime: String = mime.chars().take(64).collect();
    let text = quoted(&format!("[left out: {mime} of {bytes} bytes]"));
    let other = format!(r#"{{"type":"text","text":{text}}}"#);
    (other.len() < room).then_some(other)
}

/// Returns the beginning of a text, with a mark that says how much of it that is, in so many bytes of JSON.
fn cut_text(text: &str, room: usize) -> Option<String> {
    let kept = fitting(text, room.checked_sub(WORTH)?);
    (!kept.is_empty()).then(|| format!("{kept}\n[cut: {} of {} bytes]", kept.len(), text.len()))
}

/// Returns what a resource holds, cut; a blob gives way to a text.
fn resource_within(raw: &str, room: usize) -> Option<String> {
    let found = members(raw).ok()?;
    let get = |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, token)| *token);
    if let Some(token) = get("text") {
        let text: String = serde_json::from_str(token.span.of_str(raw)).ok()?;
        let around = raw.len() - token.span.of_str(raw).len();
        let left = room.checked_sub(around)?;
        let cut = cut_text(&text, left).unwrap_or_else(|| format!("[left out: {} bytes]", text.len()));
        return applied(raw, vec![(range(token), quoted(&cut))]);
    }
    let blob = get("blob")?;
    let bytes = blob.span.of_str(raw).len() / 4 * 3;
    let members = found.iter().filter(|(name, _)| name != "blob" && name != "mimeType");
    let mut out: String =
        members.map(|(name, token)| format!("{}:{},", quoted(name), token.span.of_str(raw))).collect();
    out.push_str(&format!(
        r#""mimeType":"text/plain","text":{}"#,
        quoted(&format!("[left out: {bytes} bytes]"))
    ));
    Some(format!("{{{out}}}"))
}

/// Cuts the contents of a resource that was read: each stays, with as much as there is room for.
pub(super) fn contents(whole: &Whole<'_>) -> Result<Values, Unreadable> {
    each(whole, "contents", resource_within)
}

/// Cuts the messages of a prompt: each stays, with as much of its text as there is room for.
pub(super) fn messages(whole: &Whole<'_>) -> Result<Values, Unreadable> {
    each(whole, "messages", |message, room| {
        let found = members(message).ok()?;
        let (_, token) = found.iter().find(|(name, _)| name == "content")?;
        let block = token.span.of_str(message);
        let left = room.saturating_sub(message.len() - block.len()).max(2 * WORTH);
        let other = if block.starts_with('[') { None } else { block_within(block, left) };
        let other = other.unwrap_or_else(|| r#"{"type":"text","text":"[left out]"}"#.to_owned());
        applied(message, vec![(range(*token), other)])
    })
}

/// Cuts the elements of one member, all of which stay.
fn each(
    whole: &Whole<'_>,
    member: &str,
    cut: impl Fn(&str, usize) -> Option<String>,
) -> Result<Values, Unreadable> {
    whole
        .members
        .iter()
        .map(|(name, token)| {
            if name == member { elements_within(whole, whole.raw(*token), &cut).map(Some) } else { Ok(None) }
        })
        .collect()
}

fn elements_within(
    whole: &Whole<'_>,
    raw: &str,
    cut: &impl Fn(&str, usize) -> Option<String>,
) -> Result<String, Unreadable> {
    let found = elements(raw)?;
    let outside = whole.size.saturating_sub(raw.len());
    // Whatever is cut needs some room to say so.
    let mut room = whole.max.saturating_sub(outside + found.len() * WORTH);
    let mut out = Vec::with_capacity(found.len());
    for token in found {
        let element = token.span.of_str(raw);
        match room.checked_sub(element.len() + 1) {
            Some(rest) => {
                room = rest;
                out.push(element.to_owned());
            }
            None => {
                let other = cut(element, room).ok_or(Unreadable)?;
                room = room.saturating_sub(other.len() + 1);
                out.push(other);
            }
        }
    }
    Ok(format!("[{}]", out.join(",")))
}
