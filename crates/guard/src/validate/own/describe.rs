//! What a value may be, in words that a model acts on: `an integer from 1 to 100`.

use std::fmt::Write as _;

use super::{ListRules, Node, NumberRules, ObjectRules, Scalar, TextRules, Types};

/// So many allowed values are listed.
const MOST_LISTED: usize = 20;

impl Node {
    /// Says what is allowed.
    pub(super) fn describe(&self) -> String {
        if let Some(allowed) = &self.allowed {
            return listed(allowed);
        }
        if self.types == Types::NONE {
            return "nothing".to_owned();
        }
        if self.types == Types::ANY {
            return "any JSON value".to_owned();
        }
        let mut words: Vec<String> = Vec::new();
        let has = |kind| self.types.meets(kind);
        if has(Types::STRING) {
            words.push(self.text.as_ref().map_or_else(|| "a string".to_owned(), |rules| rules.describe()));
        }
        if has(Types::NUMBER.or(Types::INTEGER)) {
            let kind = if has(Types::NUMBER) { "a number" } else { "an integer" };
            let rules = self.number.as_ref().map_or_else(String::new, |rules| rules.describe());
            words.push(format!("{kind}{rules}"));
        }
        if has(Types::BOOLEAN) {
            words.push("`true` or `false`".to_owned());
        }
        if has(Types::ARRAY) {
            words.push(self.list.as_ref().map_or_else(|| "a list".to_owned(), |rules| rules.describe()));
        }
        if has(Types::OBJECT) {
            words.push(self.object.as_ref().map_or_else(|| "an object".to_owned(), |rules| rules.describe()));
        }
        if has(Types::NULL) {
            words.push("null".to_owned());
        }
        words.join(" or ")
    }
}

fn listed(allowed: &[Scalar]) -> String {
    let mut text = String::from(if allowed.len() == 1 { "only " } else { "one of " });
    for (at, known) in allowed.iter().take(MOST_LISTED).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a text does not fail.
        let _ = match known {
            Scalar::Null => write!(text, "{comma}null"),
            Scalar::Boolean(known) => write!(text, "{comma}`{known}`"),
            Scalar::Number(known) | Scalar::Text(known) => {
                write!(text, "{comma}`{}`", super::tell::cut(known, 64))
            }
        };
    }
    if allowed.len() > MOST_LISTED {
        let _ = write!(text, " and {} more", allowed.len() - MOST_LISTED);
    }
    text
}

impl TextRules {
    fn describe(&self) -> String {
        let mut text = "a string".to_owned();
        let _ = match (self.least, self.most) {
            (Some(least), Some(most)) if least == most => write!(text, " of {least} characters"),
            (Some(least), Some(most)) => write!(text, " of {least} to {most} characters"),
            (Some(1), None) => write!(text, " that is not empty"),
            (Some(least), None) => write!(text, " of at least {least} characters"),
            (None, Some(most)) => write!(text, " of at most {most} characters"),
            (None, None) => Ok(()),
        };
        if let Some(pattern) = &self.pattern {
            let _ = write!(text, " matching `{}`", super::tell::cut(&pattern.written, 200));
        }
        if let Some(format) = &self.format {
            let _ = write!(text, " in the form {}", super::tell::cut(&format.name, 64));
        }
        text
    }
}

impl NumberRules {
    fn describe(&self) -> String {
        let mut text = match (&self.least, &self.most) {
            // The ends of 64-bit integers.
            (Some(least), Some(most))
                if least.integer == Some(i64::MIN) && most.integer == Some(i64::MAX) =>
            {
                " in 64 bits".to_owned()
            }
            (Some(least), Some(most)) => format!(" from {} to {}", least.text, most.text),
            (Some(least), None) => format!(" of at least {}", least.text),
            (None, Some(most)) => format!(" of at most {}", most.text),
            (None, None) => String::new(),
        };
        let mut and = |words: String| {
            text.push_str(if text.is_empty() { " " } else { " and " });
            text.push_str(&words);
        };
        if let Some(above) = &self.above {
            and(format!("above {}", above.text));
        }
        if let Some(below) = &self.below {
            and(format!("below {}", below.text));
        }
        if let Some(of) = self.multiple_of {
            and(format!("that is a multiple of {of}"));
        }
        text
    }
}

fn range(least: Option<u64>, most: Option<u64>, of: &str) -> String {
    match (least, most) {
        (Some(least), Some(most)) if least == most => format!(" of {least} {of}"),
        (Some(least), Some(most)) => format!(" of {least} to {most} {of}"),
        (Some(least), None) => format!(" of at least {least} {of}"),
        (None, Some(most)) => format!(" of at most {most} {of}"),
        (None, None) => String::new(),
    }
}

impl ListRules {
    fn describe(&self) -> String {
        let mut text = format!("a list{}", range(self.least, self.most, "elements"));
        let items = self.items.as_ref().filter(|items| items.types != Types::ANY || items.allowed.is_some());
        if let Some(items) = items {
            let _ = write!(text, ", each element {}", items.describe());
        }
        if self.unique {
            text.push_str(", no element twice");
        }
        text
    }
}

impl ObjectRules {
    fn describe(&self) -> String {
        let mut text = format!("an object{}", range(self.least, self.most, "members"));
        if !self.properties.is_empty() {
            let _ = write!(text, " with {}", super::tell::names(self));
        }
        text
    }
}
