//! The compiled form of the common schema: an object of typed properties, their bounds, lists and objects within.
//!
//! It is checked against raw bytes in one pass, without a tree of the value. What it has no word for, as combinators and references,
//! is for [`super::broad`].

mod compile;
mod describe;
mod tell;
mod walk;

use std::cmp::Ordering;

use jsonschema::Validator;
use regex::Regex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use trunkline_protocol::decimal::Decimal;
use trunkline_service::catalog::Forms;

pub(super) use compile::{compile, skeleton};
pub(super) use tell::{Faults, Path, Wording, cut, list_names, list_of};
pub(super) use walk::{Edit, Walk};

/// The JSON types that a value may have: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const NUMBER: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ANY: Self = Self(127);
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => return None,
        })
    }

    /// Tells whether it has one of those of `other`.
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What one value may be.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) types: Types,
    /// The only values there are, of `enum` or `const`; none of them is a list or an object.
    pub(super) allowed: Option<Box<[Scalar]>>,
    pub(super) number: Option<Box<NumberRules>>,
    pub(super) text: Option<Box<TextRules>>,
    pub(super) list: Option<Box<ListRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
}

impl Node {
    /// Takes every value of those types.
    pub(super) fn of_types(types: Types) -> Self {
        Self { types, allowed: None, number: None, text: None, list: None, object: None }
    }

    /// Tells whether null is one of the values.
    pub(super) fn takes_null(&self) -> bool {
        self.types.meets(Types::NULL)
            && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&Scalar::Null))
    }
}

/// A value without parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Boolean(bool),
    /// In JSON's notation.
    Number(Box<str>),
    Text(Box<str>),
}

/// The rules for numbers.
#[derive(Debug, Default)]
pub(super) struct NumberRules {
    pub(super) least: Option<Bound>,
    pub(super) most: Option<Bound>,
    /// Numbers are above it.
    pub(super) above: Option<Bound>,
    /// Numbers are below it.
    pub(super) below: Option<Bound>,
    /// Not zero.
    pub(super) multiple_of: Option<u64>,
}

/// One end of a range.
#[derive(Debug)]
pub(super) struct Bound {
    /// In JSON's notation.
    pub(super) text: Box<str>,
    integer: Option<i64>,
}

impl Bound {
    pub(super) fn new(text: String) -> Option<Self> {
        let integer = Decimal::parse(&text)?.to_integer();
        Some(Self { text: text.into(), integer })
    }

    /// Compares the bound with a number: by 64-bit integers where both are, else by digits.
    pub(super) fn compare(&self, number: &Number<'_>) -> Ordering {
        match (self.integer, number.integer) {
            (Some(bound), Some(integer)) => bound.cmp(&integer),
            _ => match (Decimal::parse(&self.text), Decimal::parse(number.text)) {
                (Some(bound), Some(number)) => bound.compare(number),
                _ => Ordering::Equal,
            },
        }
    }
}

/// A number that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    /// Its value where it is a short whole number, as nearly all are.
    integer: Option<i64>,
}

impl<'a> Number<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, integer: text.parse().ok() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.integer.is_some() || Decimal::parse(self.text).is_some_and(Decimal::is_whole)
    }
}

impl NumberRules {
    /// Tells whether a number is within them.
    pub(super) fn fits(&self, number: &Number<'_>) -> bool {
        let is = |bound: &Option<Bound>, wrong: &[Ordering]| {
            bound.as_ref().is_some_and(|bound| wrong.contains(&bound.compare(number)))
        };
        !is(&self.least, &[Ordering::Greater])
            && !is(&self.most, &[Ordering::Less])
            && !is(&self.above, &[Ordering::Greater, Ordering::Equal])
            && !is(&self.below, &[Ordering::Less, Ordering::Equal])
            && self
                .multiple_of
                .is_none_or(|of| Decimal::parse(number.text).is_some_and(|number| number.is_multiple_of(of)))
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.least.is_some() || self.most.is_some() || self.above.is_some() || self.below.is_some()
    }
}

/// The rules for strings. Lengths are in code points.
#[derive(Debug, Default)]
pub(super) struct TextRules {
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Option<Format>,
}

/// What strings match somewhere.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As the schema has it.
    pub(super) written: Box<str>,
    pub(super) regex: Regex,
}

/// The form of strings.
#[derive(Debug)]
pub(super) struct Format {
    pub(super) name: Box<str>,
    pub(super) judge: Judge,
}

/// Who knows the form.
#[derive(Debug)]
pub(super) enum Judge {
    /// The crate: one meaning for both ways of checking.
    Crate(Validator),
    /// The service, as it takes it.
    Service(Forms),
}

impl Format {
    fn has(&self, text: &str) -> bool {
        match &self.judge {
            Judge::Crate(validator) => validator.is_valid(&Value::String(text.to_owned())),
            Judge::Service(forms) => forms(&self.name, text),
        }
    }
}

impl TextRules {
    /// Tells whether a string is within them.
    pub(super) fn fits(&self, text: &str) -> bool {
        if self.least.is_some() || self.most.is_some() {
            // So many code points at most, so many at least: nearly always decided by the bytes.
            let (bytes, least, most) =
                (text.len() as u64, self.least.unwrap_or(0), self.most.unwrap_or(u64::MAX));
            let surely = bytes <= most && bytes / 4 >= least;
            if !surely && !(least..=most).contains(&(text.chars().count() as u64)) {
                return false;
            }
        }
        self.pattern.as_ref().is_none_or(|pattern| pattern.regex.is_match(text))
            && self.format.as_ref().is_none_or(|format| format.has(text))
    }
}

/// The rules for lists.
#[derive(Debug, Default)]
pub(super) struct ListRules {
    pub(super) items: Option<Node>,
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
    /// No two elements are the same; they are scalars then.
    pub(super) unique: bool,
}

/// The rules for objects.
#[derive(Debug, Default)]
pub(super) struct ObjectRules {
    pub(super) properties: Vec<Property>,
    /// Where properties stand, for objects of many.
    pub(super) places: Option<FxHashMap<Box<[u8]>, usize>>,
    /// Required members that are no properties.
    pub(super) demanded: Vec<Box<str>>,
    pub(super) others: Others,
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
}

/// What members may be that are no properties.
#[derive(Debug, Default)]
pub(super) enum Others {
    /// Anything.
    #[default]
    Any,
    /// There are none.
    None,
    /// This.
    Each(Node),
}

/// One property of an object.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: Box<str>,
    pub(super) node: Node,
    pub(super) required: bool,
    /// `"name":value`, put into objects that lack it.
    pub(super) default: Option<Box<str>>,
}

impl Property {
    /// The default alone.
    pub(super) fn default_value(&self) -> Option<&str> {
        let written = self.default.as_deref()?;
        // The name was written the same way.
        let name = Value::String(self.name.to_string()).to_string();
        written.get(name.len() + 1..)
    }
}

impl ObjectRules {
    /// Objects with more properties than this are looked up by hash.
    pub(super) const FEW: usize = 12;

    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.properties.iter().position(|property| property.name.as_bytes() == key),
        }
    }
}
