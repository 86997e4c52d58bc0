//! The frontmatter of a `SKILL.md`, and the rules of the Agent Skills format that it has to keep.

use serde_json::{Map, Value};

use super::error::SkillFault;
use super::yaml;

/// The longest frontmatter, in bytes.
const MAX_FRONTMATTER: usize = 64 * 1024;
/// What the format allows, in characters.
const MAX_DESCRIPTION: usize = 1024;
const MAX_COMPATIBILITY: usize = 500;
const MAX_NAME: usize = 64;

/// What stands at the head of a `SKILL.md`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frontmatter {
    pub(super) name: String,
    pub(super) description: String,
    /// Every field as it was written, these two among them.
    pub(super) fields: Map<String, Value>,
}

/// Reads the frontmatter of a file in the folder of that name; else everything that is wrong with it.
pub(super) fn read(text: &str, folder: &str) -> Result<Frontmatter, Vec<SkillFault>> {
    let source = split(text).ok_or_else(|| vec![SkillFault::NoFrontmatter])?;
    if source.len() > MAX_FRONTMATTER {
        return Err(vec![SkillFault::LongFrontmatter(source.len())]);
    }
    // One line stands before it.
    let fields = match yaml::to_json(source) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(vec![SkillFault::NotAMapping]),
        Err(fault) => return Err(vec![SkillFault::Yaml { line: fault.line + 1, reason: fault.reason }]),
    };
    let mut faults = Vec::new();
    let name = name_of(&fields, folder, &mut faults);
    let description = text_of(&fields, "description", MAX_DESCRIPTION, &mut faults);
    if description.is_none() && !fields.contains_key("description") {
        faults.push(SkillFault::MissingField("description"));
    }
    text_of(&fields, "compatibility", MAX_COMPATIBILITY, &mut faults);
    metadata(&fields, &mut faults);
    match (name, description) {
        (Some(name), Some(description)) if faults.is_empty() => Ok(Frontmatter { name, description, fields }),
        _ => Err(faults),
    }
}

/// Returns the YAML between the first line and the next that are `---`. A byte order mark may stand before it.
fn split(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        let bare = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
        if bare.trim_end_matches([' ', '\t']) == "---" {
            return rest.get(..end);
        }
        end += line.len();
    }
    None
}

fn name_of(fields: &Map<String, Value>, folder: &str, faults: &mut Vec<SkillFault>) -> Option<String> {
    let name = match fields.get("name") {
        Some(Value::String(name)) => name,
        Some(_) => {
            faults.push(SkillFault::FieldType { field: "name", wanted: "a text; put it in quotes" });
            return None;
        }
        None => {
            faults.push(SkillFault::MissingField("name"));
            return None;
        }
    };
    if !is_name(name) {
        faults.push(SkillFault::BadName(name.chars().take(MAX_NAME + 1).collect()));
    } else if name != folder {
        faults.push(SkillFault::NotTheFolder { name: name.clone(), folder: folder.to_owned() });
    }
    Some(name.clone())
}

/// Tells whether a text is a skill's name. Spec: agentskills.io specification, `name` field.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Returns a field of text; `None` when it is not there, or not as it should be.
fn text_of(
    fields: &Map<String, Value>,
    field: &'static str,
    most: usize,
    faults: &mut Vec<SkillFault>,
) -> Option<String> {
    match fields.get(field)? {
        Value::String(text) => {
            let length = text.chars().count();
            let is_blank = text.trim().is_empty();
            if is_blank || length > most {
                let length = if is_blank { 0 } else { length };
                faults.push(SkillFault::FieldLength { field, length, most });
                return None;
            }
            Some(text.clone())
        }
        _ => {
            faults.push(SkillFault::FieldType { field, wanted: "a text; put it in quotes" });
            None
        }
    }
}

fn metadata(fields: &Map<String, Value>, faults: &mut Vec<SkillFault>) {
    match fields.get("metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(metadata)) => {
            let reserved = metadata.keys().filter(|key| key.starts_with("io.modelcontextprotocol/"));
            faults.extend(reserved.map(|key| SkillFault::ReservedKey(key.clone())));
            // Clients that hold to the format drop a skill for this.
            let other = metadata.iter().filter(|(_, value)| !value.is_string());
            faults.extend(other.map(|(key, _)| SkillFault::MetadataType(key.clone())));
        }
        Some(_) => faults.push(SkillFault::FieldType { field: "metadata", wanted: "a mapping" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_is_kept_as_it_was_written() {
        let text = "---\nname: refunds\ndescription: Pays back.\nlicense: MIT\nmetadata:\n  version: '1.0'\nlevel: 3\ntags: [a, true]\nown: {deep: [1.5, ~]}\n---\n# Refunds\n";
        for text in [text.to_owned(), format!("\u{feff}{text}"), text.replace('\n', "\r\n")] {
            let read = read(&text, "refunds").unwrap();
            assert_eq!((&*read.name, &*read.description), ("refunds", "Pays back."));
            assert_eq!(
                Value::Object(read.fields),
                json!({
                    "name": "refunds", "description": "Pays back.", "license": "MIT",
                    "metadata": { "version": "1.0" }, "level": 3, "tags": ["a", true], "own": { "deep": [1.5, null] }
                })
            );
        }
    }

    #[test]
    fn the_last_line_may_have_spaces_and_no_end() {
        assert!(read("---\nname: a\ndescription: b\n--- \t", "a").is_ok());
        assert!(read("---\nname: a\ndescription: |\n  x\n  ---\n---", "a").is_ok(), "indented, it is text");
        for text in ["name: a", "--- \nname: a\n---", "---\nname: a\n----", "\n---\nname: a\n---", "---"] {
            assert_eq!(read(text, "a"), Err(vec![SkillFault::NoFrontmatter]), "{text}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let faults = read(
            "---\nname: Not--Good\ndescription: ' '\ncompatibility: 7\nmetadata: {io.modelcontextprotocol/x: '1', minutes: 15}\n---\n",
            "good",
        );
        let told: Vec<String> = faults.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "has the name `Not--Good`, but a name is 1 to 64 of `a-z`, `0-9` and `-`, with no `-` at either end or beside another",
                "has a `description` of 0 characters in its frontmatter; 1 to 1024 are allowed",
                "has a `compatibility` in its frontmatter that is not a text; put it in quotes",
                "has the key `io.modelcontextprotocol/x` in its `metadata`, where `io.modelcontextprotocol/` is kept for the protocol; rename it",
                "has no text at `minutes` in its `metadata`, which maps texts to texts; put the value in quotes",
            ]
        );
        let missing = read("---\nlicense: MIT\n---\n", "a").unwrap_err();
        assert_eq!(missing, [SkillFault::MissingField("name"), SkillFault::MissingField("description")]);
        assert_eq!(read("---\n- a\n---\n", "a").unwrap_err(), [SkillFault::NotAMapping]);
        let number = read("---\nname: 2026\ndescription: x\n---\n", "2026").unwrap_err();
        assert_eq!(number, [SkillFault::FieldType { field: "name", wanted: "a text; put it in quotes" }]);
        let yaml = read("---\nname: a\ndescription: [\n---\n", "a").unwrap_err();
        assert!(matches!(&*yaml, [SkillFault::Yaml { line: 3 | 4, .. }]), "{yaml:?}");
    }

    #[test]
    fn names_are_those_the_format_allows() {
        for name in ["a", "0", "pdf-processing", &"a".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a--b", "A", "a_b", "a.b", "ä", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
