//! `[roles.R]` and the other keys that say who may do what, as written in the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::limit::{BudgetFile, LimitFile};

/// `[roles.R]` as written in the file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleFile {
    /// Who has the role: one table, or a list of tables of which one must fit. Default: nobody but API keys created with the role.
    #[serde(rename = "match")]
    pub matches: Option<MatchesFile>,
    /// What the role may use: `tools:`, `prompts:` or `resources:` and a name or URI, in which `*` stands for anything. Default: nothing.
    pub allow: Vec<String>,
    /// What no caller with this role may use, whatever another role allows. Default: nothing.
    pub deny: Vec<String>,
    /// A condition over `args` and `caller` that must hold for what the role allows, or a table of conditions with names that must all hold. Default: none.
    pub when: Option<WhenFile>,
    /// What a caller reads whose call `when` refuses. Default: a text that names the rule.
    pub message: Option<String>,
    /// How many requests each caller with this role may send. Default: no limit.
    pub limit: Option<LimitFile>,
    /// How many requests and bytes each caller with this role may use in a longer time, like `{ calls = 10000, bytes = "1GiB", per = "day" }`. Default: no budget.
    pub budget: Option<BudgetFile>,
    /// How many requests of each caller with this role are worked on at a time. Default: any number.
    pub concurrent: Option<NonZeroU32>,
}

/// The value of `match`: one table, or a list of tables of which one must fit.
#[derive(Debug, Clone, Default)]
pub struct MatchesFile(pub Vec<MatchFile>);

/// One table of `match`. Exactly one of `claim` (with `has` or `equals`), `scope`, `key` and `local` says who is meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MatchFile {
    /// A claim of the caller's token; dots lead into claims that are objects. Needs `has` or `equals`. Default: none.
    pub claim: Option<String>,
    /// What the claim has: an element of a list, or a word of a text. Default: none.
    pub has: Option<Scalar>,
    /// What the claim is, exactly. Default: none.
    pub equals: Option<Scalar>,
    /// A scope of the caller's token or key. Default: none.
    pub scope: Option<String>,
    /// The name an API key was created with. Default: none.
    pub key: Option<String>,
    /// The local user: on stdio, or on loopback without `[auth]`. Only `true` means something. Default: false.
    pub local: Option<bool>,
    /// The issuer of the token, needed where several are configured. Default: the only one.
    pub issuer: Option<String>,
    /// The SPIFFE id of a client certificate; not available in this version. Default: none.
    pub spiffe: Option<String>,
    /// The subject of a client certificate; not available in this version. Default: none.
    pub subject: Option<String>,
}

/// A text, a whole number or a truth value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
}

/// The value of `when`: one condition, or conditions with names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhenFile {
    /// One condition.
    One(String),
    /// Conditions by name, all of which must hold.
    Named(BTreeMap<String, String>),
}

/// `[auth.scopes]` as written in the file: a broad scope, and those it implies.
pub type ScopesFile = BTreeMap<String, Vec<String>>;

// ---- one or many ----

impl<'de> Deserialize<'de> for MatchesFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = MatchesFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a table such as { claim = \"groups\", has = \"support\" }, or a list of such tables",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MatchesFile, A::Error> {
                MatchFile::deserialize(MapAccessDeserializer::new(map)).map(|one| MatchesFile(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<MatchesFile, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(MatchesFile)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for MatchesFile {
    fn schema_name() -> Cow<'static, str> {
        "Matches".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<MatchFile>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

// ---- scalars ----

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
                let found = de::Unexpected::Unsigned(number);
                i64::try_from(number).map(Scalar::Integer).map_err(|_| E::invalid_value(found, &self))
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Scalar, E> {
                Ok(Scalar::Boolean(truth))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

// ---- conditions ----

impl<'de> Deserialize<'de> for WhenFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrNamed;

        impl<'de> Visitor<'de> for OneOrNamed {
            type Value = WhenFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a condition such as \"args.amount < 1000\", or a table of conditions with names")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WhenFile, E> {
                Ok(WhenFile::One(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WhenFile, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(WhenFile::Named)
            }
        }

        deserializer.deserialize_any(OneOrNamed)
    }
}

impl JsonSchema for WhenFile {
    fn schema_name() -> Cow<'static, str> {
        "When".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "object", "additionalProperties": { "type": "string" } },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_in_every_form_it_is_written_in() {
        let role: RoleFile = toml::from_str(
            r#"
            match = { claim = "groups", has = "support" }
            allow = ["tools:a"]
            when = "args.x == 1"
            "#,
        )
        .unwrap();
        assert_eq!(role.matches.unwrap().0.len(), 1);
        assert_eq!(role.when, Some(WhenFile::One("args.x == 1".into())));
        let role: RoleFile = toml::from_str(
            r#"
            match = [{ scope = "x" }, { local = true }, { claim = "level", equals = 3 }]
            when.small = "args.x < 1"
            when.mine = "args.y == caller.subject"
            "#,
        )
        .unwrap();
        let matches = role.matches.unwrap().0;
        assert_eq!(matches.len(), 3);
        assert_eq!(matches[2].equals, Some(Scalar::Integer(3)));
        let Some(WhenFile::Named(named)) = role.when else { panic!("no names") };
        assert_eq!(named.len(), 2);
    }

    #[test]
    fn what_is_written_wrongly_is_told_with_its_place() {
        let text = "match = [{ claim = \"a\" }, { clam = \"b\" }]";
        let error = toml::from_str::<RoleFile>(text).unwrap_err();
        assert!(error.message().contains("clam"), "{error}");
        assert_eq!(error.span().map(|span| &text[span]), Some("clam"));
        assert!(toml::from_str::<RoleFile>("match = \"support\"").is_err());
        assert!(toml::from_str::<RoleFile>("match = { claim = \"a\", equals = 1.5 }").is_err());
        assert!(toml::from_str::<RoleFile>("when = 5").is_err());
    }
}
