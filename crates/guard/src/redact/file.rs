//! `max-result`, `redact` and `encrypt` as written under `[tools.X]` and `[connectors.X]`, and as decided: the nearer wins.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use trunkline_service::file::{Problem, SizeText};
use trunkline_service::nearest;

use super::age::Recipient;
use super::detect::{Detector, Detectors};
use super::path::{Mark, Path, Paths, TooMany};
use super::rewrite::Rules;

/// The value of `redact`: kinds of what is hidden (`email`, `card`, `iban`, `phone`, `token`) and fields by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RedactFile(pub Vec<String>);

/// A list of kinds of values: of `[log] redact`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DetectorsFile(Vec<DetectorName>);

/// A kind of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum DetectorName {
    /// An address of electronic mail.
    Email,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A telephone number.
    Phone,
    /// A credential.
    Token,
}

impl DetectorsFile {
    /// Returns what is looked for.
    #[must_use]
    pub fn detectors(&self) -> Detectors {
        let each = self.0.iter().map(|name| match name {
            DetectorName::Email => Detector::Email,
            DetectorName::Card => Detector::Card,
            DetectorName::Iban => Detector::Iban,
            DetectorName::Phone => Detector::Phone,
            DetectorName::Token => Detector::Token,
        });
        each.collect()
    }
}

/// The value of `encrypt`: which fields are sealed, and for whose keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncryptFile {
    /// The fields that are sealed: names, at any depth, or paths like `rows.*.ssn`. Default: none.
    pub fields: Vec<String>,
    /// Who can open them: a recipient of age (`age1...`), or a list of them, each of whom can. Default: nobody, which is an error where there are fields.
    pub to: RecipientsFile,
}

/// One recipient, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecipientsFile(pub Vec<String>);

/// What is decided of the results of one connector or tool; `None` where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    max_result: Option<usize>,
    redact: Option<(Detectors, Vec<Path>)>,
    encrypt: Option<(Vec<Recipient>, Vec<Path>)>,
}

/// Smaller results than that have no room for a word about what was cut.
const SMALLEST: usize = 2048;

/// Most names that the paths of one key have together: those of two keys have room in one table.
const MOST_NAMES: usize = 60;

impl Shape {
    /// Decides what the keys under `path` say: `["tools", "search"]` or `["connectors", "shop"]`.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path of keys.
    pub fn resolve(
        path: &[&str],
        max_result: Option<SizeText>,
        redact: Option<&RedactFile>,
        encrypt: Option<&EncryptFile>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let size = max_result.map(|size| size.0);
        if let Some(size) = size.filter(|size| *size < SMALLEST) {
            let message = format!("`max-result` is {size} bytes, too few to say that something was cut");
            problems.push(
                Problem::new(&[path, &["max-result"]].concat(), message)
                    .help(format!("write at least \"{SMALLEST}\"")),
            );
        }
        let redact = redact.map(|file| file.read(&[path, &["redact"]].concat(), &mut problems));
        let encrypt = encrypt.map(|file| file.read(&[path, &["encrypt"]].concat(), &mut problems));
        if problems.is_empty() { Ok(Self { max_result: size, redact, encrypt }) } else { Err(problems) }
    }

    /// Puts what the connector says in the place of what the tool leaves open.
    #[must_use]
    pub fn or(self, connector: &Self) -> Self {
        Self {
            max_result: self.max_result.or(connector.max_result),
            redact: self.redact.or_else(|| connector.redact.clone()),
            encrypt: self.encrypt.or_else(|| connector.encrypt.clone()),
        }
    }

    /// Tells whether results leave as they are.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.max_result.is_none() && self.rules().is_empty()
    }

    /// Tells whether anything is hidden or sealed by the name of its field, which whoever writes the statement can change.
    #[must_use]
    pub fn names_fields(&self) -> bool {
        self.seals() || self.redact.as_ref().is_some_and(|(_, fields)| !fields.is_empty())
    }

    /// Tells whether fields are sealed, which makes them longer.
    #[must_use]
    pub fn seals(&self) -> bool {
        self.encrypt.as_ref().is_some_and(|(_, fields)| !fields.is_empty())
    }

    /// Returns the most bytes of a result, as JSON; `None` for no bound.
    #[must_use]
    pub fn max_result(&self) -> Option<usize> {
        self.max_result
    }

    /// Returns what is hidden and sealed.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        if let Some((detectors, paths)) = &self.redact {
            rules.detectors = *detectors;
            add(&mut rules.paths, paths, Mark::Hide);
        }
        if let Some((recipients, paths)) = &self.encrypt {
            rules.recipients.clone_from(recipients);
            add(&mut rules.paths, paths, Mark::Seal);
        }
        rules
    }
}

fn add(table: &mut Paths, paths: &[Path], mark: Mark) {
    for path in paths {
        // Both keys were found to have room together.
        let _: Result<(), TooMany> = table.add(path, mark);
    }
}

impl RedactFile {
    fn read(&self, path: &[&str], problems: &mut Vec<Problem>) -> (Detectors, Vec<Path>) {
        let mut detectors = Detectors::default();
        let mut fields = Vec::new();
        for (at, text) in self.0.iter().enumerate() {
            let at = at.to_string();
            let here = [path, &[at.as_str()]].concat();
            if let Some(detector) = Detector::named(text) {
                detectors = detectors.with(detector);
                continue;
            }
            // A misspelt kind would hide nothing, and nobody would notice.
            let known = Detector::ALL.map(Detector::as_str);
            if !text.contains(['.', '"'])
                && let Some(near) = nearest(text, known)
            {
                let message = format!("`{text}` is no kind of what is hidden, and may be meant as one");
                problems.push(
                    Problem::new(&here, message)
                        .help(format!("write `{near}`; for the field, write `*.{text}`")),
                );
                continue;
            }
            fields.extend(field(text, &here, problems));
        }
        check_room(&fields, path, problems);
        (detectors, fields)
    }
}

impl EncryptFile {
    fn read(&self, path: &[&str], problems: &mut Vec<Problem>) -> (Vec<Recipient>, Vec<Path>) {
        let mut fields = Vec::new();
        for (at, text) in self.fields.iter().enumerate() {
            let at = at.to_string();
            fields.extend(field(text, &[path, &["fields", at.as_str()]].concat(), problems));
        }
        check_room(&fields, path, problems);
        let mut recipients = Vec::new();
        for text in &self.to.0 {
            match text.trim().parse() {
                Ok(recipient) => recipients.push(recipient),
                // It may be a secret key, so that it is not shown.
                Err(error) => problems.push(Problem::new(&[path, &["to"]].concat(), format!("{error}"))),
            }
        }
        if self.to.0.is_empty() && !self.fields.is_empty() {
            let message = "`encrypt` names fields and nobody who can open them";
            problems.push(
                Problem::new(path, message)
                    .help("add `to = \"age1...\"`; `trunkline secret keygen` makes a key and prints that"),
            );
        }
        if self.to.0.len() > MOST_RECIPIENTS {
            let message = format!("these are more than the {MOST_RECIPIENTS} recipients a field may have");
            problems.push(Problem::new(&[path, &["to"]].concat(), message));
        }
        if self.fields.is_empty() && !self.to.0.is_empty() {
            let message = "`encrypt` has recipients and names no field";
            problems.push(Problem::new(path, message).help("add `fields = [\"ssn\"]`"));
        }
        (recipients, fields)
    }
}

/// Each costs some 100 bytes of every value.
const MOST_RECIPIENTS: usize = 20;

fn field(text: &str, here: &[&str], problems: &mut Vec<Problem>) -> Option<Path> {
    Path::parse(text).map_err(|error| problems.push(Problem::new(here, error.to_string()))).ok()
}

fn check_room(fields: &[Path], path: &[&str], problems: &mut Vec<Problem>) {
    let mut table = Paths::default();
    let names: usize = fields.iter().map(|field| field.names() + 1).sum();
    let fits = names <= MOST_NAMES && fields.iter().all(|field| table.add(field, Mark::Hide).is_ok());
    if !fits {
        let message = format!(
            "the paths have {names} names together, each path counted with one more, and at most {MOST_NAMES} have room"
        );
        problems.push(
            Problem::new(path, message)
                .help("a field's name alone, without a path, is looked for at every depth"),
        );
    }
}

impl<'de> Deserialize<'de> for RecipientsFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = RecipientsFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a recipient like \"age1...\", or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RecipientsFile, E> {
                Ok(RecipientsFile(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RecipientsFile, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(RecipientsFile)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for RecipientsFile {
    fn schema_name() -> Cow<'static, str> {
        "Recipients".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    fn redact(all: &[&str]) -> RedactFile {
        RedactFile(all.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn the_keys_are_read_and_the_nearer_wins() {
        let file: EncryptFile = toml::from_str(&format!("fields = [\"ssn\"]\nto = \"{KEY}\"")).unwrap();
        let several: EncryptFile = toml::from_str(&format!("fields = [\"ssn\"]\nto = [\"{KEY}\"]")).unwrap();
        assert_eq!(file, several);
        let connector = Shape::resolve(
            &["connectors", "c"],
            Some(SizeText(150_000)),
            Some(&redact(&["email", "rows.*.ssn"])),
            Some(&file),
        )
        .unwrap();
        assert!(connector.rules().detectors.has(Detector::Email) && connector.max_result() == Some(150_000));
        let tool =
            Shape::resolve(&["tools", "t"], None, Some(&redact(&["iban"])), None).unwrap().or(&connector);
        let rules = tool.rules();
        assert!(rules.detectors.has(Detector::Iban) && !rules.detectors.has(Detector::Email));
        assert_eq!((rules.paths.texts().collect::<Vec<_>>(), rules.recipients.len()), (vec!["ssn"], 1));
        let nothing =
            Shape::resolve(&["tools", "t"], None, Some(&redact(&[])), Some(&EncryptFile::default())).unwrap();
        assert!(!nothing.clone().or(&connector).is_nothing() && nothing.or(&Shape::default()).is_nothing());
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_key_and_no_secret() {
        let secret = "AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3JN";
        let encrypt = EncryptFile { fields: vec!["a..b".into()], to: RecipientsFile(vec![secret.into()]) };
        let problems = Shape::resolve(
            &["tools", "t"],
            Some(SizeText(10)),
            Some(&redact(&["emial", "cards", "a.*"])),
            Some(&encrypt),
        )
        .unwrap_err();
        let keys: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(
            keys,
            [
                "tools.t.max-result",
                "tools.t.redact.0",
                "tools.t.redact.1",
                "tools.t.redact.2",
                "tools.t.encrypt.fields.0",
                "tools.t.encrypt.to"
            ]
        );
        assert!(problems.iter().all(|problem| !format!("{problem:?}").contains("QQPZRY")), "{problems:?}");
        assert_eq!(problems[1].help.as_deref(), Some("write `email`; for the field, write `*.emial`"));
        for bad in ["fields = [\"a\"]", &format!("to = \"{KEY}\"")] {
            let file: EncryptFile = toml::from_str(bad).unwrap();
            assert_eq!(
                Shape::resolve(&["tools", "t"], None, None, Some(&file)).unwrap_err().len(),
                1,
                "{bad}"
            );
        }
        let many = RedactFile((0..40).map(|at| format!("field{at}")).collect());
        assert!(Shape::resolve(&["tools", "t"], None, Some(&many), None).is_err());
    }
}
