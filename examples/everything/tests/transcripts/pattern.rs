//! Names in messages: `"<state>"` stands for whatever the server said there first, `"<any>"` for anything.
//!
//! A name that the server's side brought up can be used on the client's side afterwards: this is how a session, a cursor, a
//! sealed state or the id of a question travels through a dialogue whose file never changes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What the names stand for so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Names {
    /// What the file says with `==`. Names may stand in it in turn.
    given: BTreeMap<String, Value>,
    /// What the server said.
    said: BTreeMap<String, Value>,
}

const ANY: &str = "<any>";

fn name_in(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    (!inner.is_empty() && inner.chars().all(fits)).then_some(text)
}

impl Names {
    /// Gives a name to a value.
    pub(crate) fn give(&mut self, name: &str, value: Value) {
        self.given.insert(name.to_owned(), value);
    }

    /// The message with what its names stand for.
    pub(crate) fn filled(&self, message: &Value) -> Result<Value, String> {
        if let Some(name) = name_in(message) {
            let value = self.given.get(name).or_else(|| self.said.get(name));
            return value.cloned().ok_or_else(|| format!("`{name}` stands for nothing yet"));
        }
        Ok(match message {
            Value::Object(members) => {
                let filled = members.iter().map(|(key, value)| Ok((key.clone(), self.filled(value)?)));
                Value::Object(filled.collect::<Result<Map<_, _>, String>>()?)
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.filled(item)).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    /// Compares, and remembers what new names stand for; says where they differ first.
    pub(crate) fn matches(&mut self, expected: &Value, found: &Value) -> Result<(), String> {
        let mut tried = self.clone();
        tried.compare(expected, found, "")?;
        *self = tried;
        Ok(())
    }

    fn compare(&mut self, expected: &Value, found: &Value, place: &str) -> Result<(), String> {
        if let Some(name) = name_in(expected) {
            if name == ANY {
                return Ok(());
            }
            if let Some(given) = self.given.get(name).cloned() {
                return self.compare(&given, found, place);
            }
            let stands_for = self.said.entry(name.to_owned()).or_insert_with(|| found.clone()).clone();
            return if &stands_for == found { Ok(()) } else { Err(differ(place, &stands_for, found)) };
        }
        match (expected, found) {
            (Value::Object(wanted), Value::Object(members)) => {
                if let Some(extra) = members.keys().find(|key| !wanted.contains_key(*key)) {
                    return Err(format!("{place}/{extra} is not expected: {}", members[extra]));
                }
                for (key, value) in wanted {
                    let member = members.get(key).ok_or_else(|| format!("{place}/{key} is missing"))?;
                    self.compare(value, member, &format!("{place}/{key}"))?;
                }
                Ok(())
            }
            (Value::Array(wanted), Value::Array(items)) if wanted.len() == items.len() => {
                for (index, (value, item)) in wanted.iter().zip(items).enumerate() {
                    self.compare(value, item, &format!("{place}/{index}"))?;
                }
                Ok(())
            }
            _ if expected == found => Ok(()),
            _ => Err(differ(place, expected, found)),
        }
    }

    /// The message with names in place of what they stand for and of what is different in every run.
    ///
    /// Names that stood in `before`, what the file said until now, stay.
    pub(crate) fn named(&mut self, found: &Value, before: Option<&Value>, key: &str) -> Value {
        if let Some(name) = before.and_then(name_in)
            && !self.given.contains_key(name)
        {
            if name != ANY {
                self.said.insert(name.to_owned(), found.clone());
            }
            return Value::from(name);
        }
        let given: Vec<(String, Value)> = self.given.clone().into_iter().collect();
        if let Some((name, _)) = given.iter().find(|(_, value)| self.clone().matches(value, found).is_ok()) {
            return Value::from(name.as_str());
        }
        if let Some(name) = self.name_for(found, key) {
            return Value::from(name);
        }
        match found {
            Value::Object(members) => {
                let is_question = members.contains_key("method") && members.contains_key("id");
                let named = members.iter().map(|(key, value)| {
                    let before = before.and_then(|before| before.get(key));
                    let key_of_value = if is_question && key == "id" { "question" } else { key.as_str() };
                    (key.clone(), self.named(value, before, key_of_value))
                });
                Value::Object(named.collect())
            }
            Value::Array(items) => {
                let named = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.named(item, before.and_then(|before| before.get(index)), ""));
                Value::Array(named.collect())
            }
            other => other.clone(),
        }
    }

    fn name_for(&mut self, found: &Value, key: &str) -> Option<String> {
        let stem = match key {
            "requestState" => "state",
            "nextCursor" => "cursor",
            "taskId" => "task",
            "question" => "question",
            "elicitationId" => "elicitation",
            // Of HTTP.
            "mcp-session-id" => "session",
            "event" => "event",
            "createdAt" | "lastUpdatedAt" => return Some(ANY.to_owned()),
            _ => return None,
        };
        if let Some((name, _)) =
            self.said.iter().find(|(name, value)| name.starts_with(&format!("<{stem}")) && *value == found)
        {
            return Some(name.clone());
        }
        let taken = self.said.keys().filter(|name| name.starts_with(&format!("<{stem}"))).count();
        let name = if taken == 0 { format!("<{stem}>") } else { format!("<{stem}-{}>", taken + 1) };
        self.said.insert(name.clone(), found.clone());
        Some(name)
    }
}

fn differ(place: &str, expected: &Value, found: &Value) -> String {
    let place = if place.is_empty() { "the message" } else { place };
    format!("{place} is {found} and not {expected}")
}

#[test]
fn a_name_stands_for_one_thing() {
    let mut names = Names::default();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    names.matches(&json(r#"{"a":"<state>","b":"<any>"}"#), &json(r#"{"a":"x","b":[1]}"#)).unwrap();
    assert_eq!(names.filled(&json(r#"["<state>"]"#)).unwrap(), json(r#"["x"]"#));
    assert!(names.matches(&json(r#""<state>""#), &json(r#""y""#)).is_err());
    assert!(names.filled(&json(r#""<unknown>""#)).is_err());
    names.give("<server>", json(r#"{"name":"it","version":"<any>"}"#));
    names.matches(&json(r#""<server>""#), &json(r#"{"name":"it","version":"7"}"#)).unwrap();
    assert_eq!(names.named(&json(r#"[{"name":"it","version":"7"}]"#), None, ""), json(r#"["<server>"]"#));
    assert_eq!(
        names.matches(&json(r#"{"a":{}}"#), &json(r#"{"a":{"b":1}}"#)).unwrap_err(),
        "/a/b is not expected: 1"
    );
}
