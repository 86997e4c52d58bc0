//! One pass over raw bytes by the compiled form: what does not fit, and what an object has to be given by default.

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use trunkline_protocol::decimal::Decimal;
use trunkline_protocol::json::{Kind, Scanner, SyntaxError, unescape};
use trunkline_protocol::{Span, Token};

use super::{Faults, ListRules, Node, Number, ObjectRules, Others, Path, Scalar, Types};
use crate::validate::schema::{Options, edited};

/// A change to the text that was walked: what is put in the place of a stretch of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::validate) struct Edit<'n> {
    pub(in crate::validate) span: Span,
    pub(in crate::validate) comma: bool,
    pub(in crate::validate) text: &'n str,
}

/// One pass.
#[derive(Debug)]
pub(in crate::validate) struct Walk<'n, 'f> {
    text: &'n str,
    options: &'n Options,
    /// Where faults are told; without, the first one ends the pass.
    faults: Option<&'f mut Faults>,
    edits: Vec<Edit<'n>>,
}

/// Ends a pass that nobody is told the faults of.
const STOP: SyntaxError = SyntaxError { at: 0, what: "it does not fit" };

/// Undeclared arguments that n8n adds to every call, each time others: they are left out.
const DROPPED: [&[u8]; 2] = [b"toolCallId", b"sessionId"];

/// Returns a value with what it lacks; `None` when it does not fit.
pub(super) fn completed(node: &Node, text: &str, options: &Options) -> Option<String> {
    let edits = Walk::new(text, options, None).run(node, &Path::root("default", true)).ok()?;
    Some(edited(text, &edits))
}

impl<'n, 'f> Walk<'n, 'f> {
    pub(in crate::validate) fn new(
        text: &'n str,
        options: &'n Options,
        faults: Option<&'f mut Faults>,
    ) -> Self {
        Self { text, options, faults, edits: Vec::new() }
    }

    /// Walks the whole text. Returns what has to be changed in it, in order.
    ///
    /// # Errors
    /// Where it is not JSON; and, without a place for faults, when it does not fit.
    pub(in crate::validate) fn run(
        mut self,
        node: &'n Node,
        path: &Path<'_>,
    ) -> Result<Vec<Edit<'n>>, SyntaxError> {
        let mut scanner = Scanner::new(self.text)?;
        scanner.next_byte();
        self.value(node, &mut scanner, path)?;
        scanner.end()?;
        if scanner.is_too_deep() {
            self.fault(|faults| faults.add(|| format!("{path} is nested too deep")))?;
        }
        Ok(self.edits)
    }

    fn value(
        &mut self,
        node: &'n Node,
        scanner: &mut Scanner<'_>,
        path: &Path<'_>,
    ) -> Result<(), SyntaxError> {
        match (scanner.ahead(), &node.object, &node.list) {
            (b'{', Some(rules), _) if node.types.meets(Types::OBJECT) && node.allowed.is_none() => {
                self.object(node, rules, scanner, path)
            }
            (b'[', _, Some(rules)) if node.types.meets(Types::ARRAY) && node.allowed.is_none() => {
                self.list(node, rules, scanner, path)
            }
            _ => {
                let token = scanner.value()?;
                if self.takes(node, token) {
                    return Ok(());
                }
                let text = self.text;
                self.fault(|faults| faults.unfit(path, node, token, text))
            }
        }
    }

    /// Tells whether a value without rules for its parts fits.
    #[inline]
    fn takes(&self, node: &Node, token: Token) -> bool {
        let types = node.types;
        match token.kind {
            Kind::Absent => false,
            Kind::Null => types.meets(Types::NULL) && is_allowed(node, &Scalar::Null),
            Kind::Bool => {
                types.meets(Types::BOOLEAN)
                    && (node.allowed.is_none()
                        || is_allowed(node, &Scalar::Boolean(token.span.of_str(self.text) == "true")))
            }
            Kind::Integer | Kind::Float => takes_number(node, token.span.of_str(self.text)),
            Kind::String | Kind::EscapedString if types.meets(Types::STRING) => self.takes_text(node, token),
            Kind::String | Kind::EscapedString => self.options.loose && self.takes_loosely(node, token),
            Kind::Array => types.meets(Types::ARRAY) && node.allowed.is_none(),
            Kind::Object => types.meets(Types::OBJECT) && node.allowed.is_none(),
        }
    }

    fn takes_text(&self, node: &Node, token: Token) -> bool {
        if node.text.is_none() && node.allowed.is_none() {
            return true;
        }
        let raw = token.span.of_str(self.text);
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        let text =
            if token.kind == Kind::String { Cow::Borrowed(inner) } else { Cow::Owned(unescape(inner)) };
        node.text.as_ref().is_none_or(|rules| rules.fits(&text))
            && node.allowed.as_ref().is_none_or(|allowed| {
                allowed.iter().any(|known| matches!(known, Scalar::Text(known) if **known == *text))
            })
    }

    /// A number written as a string is that number; a list or an object written as a string is for the service to read.
    fn takes_loosely(&self, node: &Node, token: Token) -> bool {
        let types = node.types;
        if types.meets(Types::ARRAY.or(Types::OBJECT)) {
            return true;
        }
        if token.kind != Kind::String || !types.meets(Types::INTEGER.or(Types::NUMBER)) {
            return false;
        }
        let raw = token.span.of_str(self.text);
        let text = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if Decimal::parse(text).is_some() {
            return takes_number(node, text);
        }
        // What PostgreSQL calls what is no number.
        types.meets(Types::NUMBER)
            && matches!(text, "NaN" | "Infinity" | "-Infinity")
            && node.allowed.is_none()
            && node.number.as_ref().is_none_or(|rules| !rules.is_bounded())
    }

    fn object(
        &mut self,
        node: &'n Node,
        rules: &'n ObjectRules,
        scanner: &mut Scanner<'_>,
        path: &Path<'_>,
    ) -> Result<(), SyntaxError> {
        let start = scanner.position();
        let mut members =
            Members { seen: Seen::default(), count: 0, kept: 0, end: start + 1, dropped: false };
        scanner.members(|scanner, key| {
            members.count += 1;
            match rules.find(scanner.key_bytes(key)) {
                Some(at) => self.property(rules, at, &mut members, scanner, path)?,
                None => self.other(rules, key, &mut members, scanner, path)?,
            }
            members.end = scanner.position();
            Ok(true)
        })?;
        self.missing(rules, &members, path)?;
        let count = members.count;
        if rules.least.is_some_and(|least| count < least) || rules.most.is_some_and(|most| count > most) {
            self.fault(|faults| faults.misses(path, node, &format!("an object of {count} members")))?;
        }
        Ok(())
    }

    fn property(
        &mut self,
        rules: &'n ObjectRules,
        at: usize,
        members: &mut Members,
        scanner: &mut Scanner<'_>,
        path: &Path<'_>,
    ) -> Result<(), SyntaxError> {
        let Some(property) = rules.properties.get(at) else { return Ok(()) };
        members.seen.set(at);
        let is_null = scanner.ahead() == b'n' && self.options.completes && !rules.is_counted();
        if is_null && !property.required && !property.node.takes_null() {
            let Some(text) = property.default_value() else { return self.leave_out(members, scanner) };
            self.keep(members, scanner.position());
            let token = scanner.value()?;
            self.edits.push(Edit { span: token.span, comma: false, text });
            return Ok(());
        }
        self.keep(members, scanner.position());
        self.value(&property.node, scanner, &path.key(&property.name))
    }

    fn other(
        &mut self,
        rules: &'n ObjectRules,
        key: trunkline_protocol::json::Key,
        members: &mut Members,
        scanner: &mut Scanner<'_>,
        path: &Path<'_>,
    ) -> Result<(), SyntaxError> {
        if let Others::None = rules.others {
            if path.is_root() && self.options.completes && DROPPED.contains(&scanner.key_bytes(key)) {
                let start = members.end;
                scanner.value()?;
                self.edits.push(Edit {
                    span: Span { start, end: scanner.position() },
                    comma: false,
                    text: "",
                });
                members.dropped |= members.kept == 0;
                return Ok(());
            }
            self.fault(|faults| faults.unknown(path, scanner.key(key), rules))?;
            scanner.value()?;
            return Ok(());
        }
        self.keep(members, scanner.position());
        if let Some(at) = rules.demanded.iter().position(|name| name.as_bytes() == scanner.key_bytes(key)) {
            members.seen.set(rules.properties.len() + at);
        }
        match &rules.others {
            Others::Each(node) => {
                let name = scanner.key(key).to_owned();
                self.value(node, scanner, &path.member(&name))
            }
            _ => scanner.value().map(|_| ()),
        }
    }

    /// Takes a member away, with the comma before it.
    fn leave_out(&mut self, members: &mut Members, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        let start = members.end;
        scanner.value()?;
        self.edits.push(Edit { span: Span { start, end: scanner.position() }, comma: false, text: "" });
        members.dropped |= members.kept == 0;
        Ok(())
    }

    /// Notes a member that stays, and takes away the comma before it when all before were dropped.
    fn keep(&mut self, members: &mut Members, position: u32) {
        if members.dropped {
            members.dropped = false;
            let between = Span { start: members.end, end: position }.of_str(self.text);
            if let Some(at) = between.find(',').and_then(|at| u32::try_from(at).ok()) {
                let start = members.end + at;
                self.edits.push(Edit { span: Span { start, end: start + 1 }, comma: false, text: "" });
            }
        }
        members.kept += 1;
    }

    /// Puts in what is missing and has a default, and tells of what is missing and required.
    fn missing(
        &mut self,
        rules: &'n ObjectRules,
        members: &Members,
        path: &Path<'_>,
    ) -> Result<(), SyntaxError> {
        let mut comma = members.kept > 0;
        for (at, property) in rules.properties.iter().enumerate() {
            if members.seen.has(at) {
                continue;
            }
            if let Some(text) = &property.default {
                let span = Span { start: members.end, end: members.end };
                self.edits.push(Edit { span, comma, text });
                comma = true;
            } else if property.required {
                self.fault(|faults| faults.required(&path.key(&property.name), Some(&property.node)))?;
            }
        }
        for (at, name) in rules.demanded.iter().enumerate() {
            if !members.seen.has(rules.properties.len() + at) {
                self.fault(|faults| faults.required(&path.key(name), None))?;
            }
        }
        Ok(())
    }

    fn list(
        &mut self,
        node: &'n Node,
        rules: &'n ListRules,
        scanner: &mut Scanner<'_>,
        path: &Path<'_>,
    ) -> Result<(), SyntaxError> {
        let mut count = 0_usize;
        let mut known = FxHashSet::default();
        let mut twice = None;
        scanner.elements(|scanner| {
            scanner.next_byte();
            let start = scanner.position();
            match &rules.items {
                Some(items) => self.value(items, scanner, &path.item(count))?,
                None => scanner.value().map(|_| ())?,
            }
            if rules.unique {
                let span = Span { start, end: scanner.position() };
                if !known.insert(canonical(span.of_str(self.text))) {
                    twice.get_or_insert(count);
                }
            }
            count += 1;
            Ok(true)
        })?;
        if let Some(at) = twice {
            self.fault(|faults| {
                faults.add(|| {
                    format!("{} repeats an element before it, allowed is no element twice", path.item(at))
                });
            })?;
        }
        let length = count as u64;
        if rules.least.is_some_and(|least| length < least) || rules.most.is_some_and(|most| length > most) {
            self.fault(|faults| faults.misses(path, node, &super::tell::list_of(count)))?;
        }
        Ok(())
    }

    fn fault(&mut self, tell: impl FnOnce(&mut Faults)) -> Result<(), SyntaxError> {
        match &mut self.faults {
            Some(faults) => {
                tell(faults);
                Ok(())
            }
            None => Err(STOP),
        }
    }
}

/// What was met of an object until now.
#[derive(Debug)]
struct Members {
    seen: Seen,
    count: u64,
    /// How many of them stay.
    kept: u64,
    /// Where the last one ended.
    end: u32,
    /// All before were dropped: the comma behind them has to go.
    dropped: bool,
}

/// Which members of an object were met.
#[derive(Debug, Default)]
struct Seen {
    first: u64,
    rest: Vec<u64>,
}

impl Seen {
    fn set(&mut self, at: usize) {
        if at < 64 {
            self.first |= 1 << at;
            return;
        }
        let word = at / 64 - 1;
        if self.rest.len() <= word {
            self.rest.resize(word + 1, 0);
        }
        if let Some(word) = self.rest.get_mut(word) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, at: usize) -> bool {
        let word = if at < 64 { self.first } else { self.rest.get(at / 64 - 1).copied().unwrap_or(0) };
        word & (1 << (at % 64)) != 0
    }
}

fn is_allowed(node: &Node, scalar: &Scalar) -> bool {
    node.allowed.as_ref().is_none_or(|allowed| allowed.contains(scalar))
}

fn takes_number(node: &Node, text: &str) -> bool {
    let types = node.types;
    if !types.meets(Types::INTEGER.or(Types::NUMBER)) {
        return false;
    }
    let number = Number::new(text);
    (types.meets(Types::NUMBER) || number.is_whole())
        && node.number.as_ref().is_none_or(|rules| rules.fits(&number))
        && node.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|known| is_number(known, text)))
}

fn is_number(known: &Scalar, text: &str) -> bool {
    let Scalar::Number(known) = known else { return false };
    match (Decimal::parse(known), Decimal::parse(text)) {
        (Some(known), Some(number)) => known.compare(number).is_eq(),
        _ => false,
    }
}

/// One spelling for what is the same value. It is told from others only among values without parts.
fn canonical(text: &str) -> String {
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
            format!("\"{}", unescape(inner))
        }
        Some(b'-' | b'0'..=b'9') => Decimal::parse(text).map_or_else(|| text.to_owned(), Decimal::canonical),
        _ => text.to_owned(),
    }
}
