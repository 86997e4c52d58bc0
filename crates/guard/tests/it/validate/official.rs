//! The official cases of JSON Schema in our configuration: nothing is fetched, patterns never backtrack, numbers are exact.
//!
//! Each runs through the whole [`Schema`], and where that takes its own form through the crate as well: both have to agree. What does
//! not go as the cases have it is listed in `json-schema/exceptions.json` with its reason, and the list is exact: an exception that passes
//! fails. `scripts/lib/json-schema-cases` fetches the cases.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use trunkline_guard::validate::{Dialect, Options, Schema, SchemaError};

/// Cases of one schema.
#[derive(Debug, Deserialize)]
struct Group {
    description: String,
    schema: Value,
    tests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    description: String,
    data: Box<RawValue>,
    valid: bool,
}

/// Cases that do not go as they have it, and why.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "why")]
    _why: String,
    dialects: Vec<String>,
    cases: Vec<String>,
}

#[derive(Debug, Default)]
struct Run {
    cases: usize,
    own: usize,
    /// What did not go as the cases have it: file, group and case, or `refused` and why.
    missed: BTreeSet<String>,
    disagreed: Vec<String>,
}

impl Run {
    fn group(&mut self, file: &str, group: &Group, dialect: Dialect) {
        // As the specification has it formats are remarks, and the cases of each format are for those who check them.
        let formats = file.starts_with("optional/format/");
        let options = Options { dialect, formats, completes: false, ..Options::default() };
        let schema = match Schema::compile(&group.schema, options) {
            Ok(schema) => schema,
            Err(error) => {
                let why = match error {
                    SchemaError::Elsewhere(_) => "refused: elsewhere",
                    SchemaError::Dialect(_) => "refused: dialect",
                    error => panic!("{file}: {}: {error}", group.description),
                };
                self.missed.insert(format!("{file}: {}: {why}", group.description));
                return;
            }
        };
        let broad = schema.is_own().then(|| Schema::compile_broad(&group.schema, options).unwrap());
        for case in &group.tests {
            self.cases += 1;
            let valid = schema.is_valid(case.data.get());
            if valid != case.valid {
                self.missed.insert(format!("{file}: {}: {}", group.description, case.description));
            }
            if let Some(broad) = &broad {
                self.own += 1;
                if broad.is_valid(case.data.get()) != valid {
                    self.disagreed.push(format!("{file}: {}: {}", group.description, case.description));
                }
            }
        }
    }
}

fn run(text: &str, dialect: Dialect) -> Run {
    let files: BTreeMap<String, Vec<Group>> = serde_json::from_str(text).unwrap();
    let mut run = Run::default();
    for (file, groups) in &files {
        for group in groups {
            run.group(file, group, dialect);
        }
    }
    run
}

/// The exceptions of a dialect.
fn exceptions(dialect: &str) -> BTreeSet<String> {
    let all: Vec<Exception> =
        serde_json::from_str(include_str!("../../json-schema/exceptions.json")).unwrap();
    let of_dialect =
        all.into_iter().filter(|exception| exception.dialects.iter().any(|known| known == dialect));
    of_dialect.flat_map(|exception| exception.cases).collect()
}

fn runs_as_listed(name: &str, text: &str, dialect: Dialect, least: usize) {
    let run = run(text, dialect);
    let expected = exceptions(name);
    let new: Vec<_> = run.missed.difference(&expected).collect();
    let passed: Vec<_> = expected.difference(&run.missed).collect();
    assert!(new.is_empty(), "not as the cases have it: {new:#?}");
    assert!(passed.is_empty(), "exceptions that are none: {passed:#?}");
    assert!(run.disagreed.is_empty(), "the two forms disagree: {:#?}", run.disagreed);
    // So that nothing passes because nothing was run.
    assert!(
        run.cases >= least && run.own * 2 > run.cases,
        "{} cases, {} in the own form",
        run.cases,
        run.own
    );
}

#[test]
fn draft_2020_12_runs_as_listed() {
    runs_as_listed(
        "draft2020-12",
        include_str!("../../json-schema/draft2020-12.json"),
        Dialect::V2020_12,
        1_800,
    );
}

#[test]
fn draft_2019_09_runs_as_listed() {
    runs_as_listed(
        "draft2019-09",
        include_str!("../../json-schema/draft2019-09.json"),
        Dialect::V2019_09,
        1_800,
    );
}

#[test]
fn draft_7_runs_as_listed() {
    runs_as_listed("draft7", include_str!("../../json-schema/draft7.json"), Dialect::Draft7, 1_400);
}
