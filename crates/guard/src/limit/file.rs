//! `[limits]`, and the keys `limit`, `budget`, `concurrent` and `cost` of roles, tools and connectors, as written in the file.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use trunkline_service::file::{Problem, SizeText};

use super::rate::{Rate, Unit};
use super::spec::{BudgetSpec, LimitsSpec, RoleSpec};
use crate::authorize::RoleFile;

/// `[limits]` as written in the file.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsFile {
    /// How many requests the whole server takes, before anybody looks at who asks. Default: no limit.
    pub server: Option<LimitFile>,
    /// How many requests one client address may send, before anybody looks at who asks; an IPv6 network of 64 bits counts as one. Default: no limit.
    pub address: Option<LimitFile>,
    /// How many requests one caller may send, whatever its roles. Default: no limit.
    pub caller: Option<LimitFile>,
    /// How many requests the server works on at a time; more wait shortly, and are answered 503 then. Default: only `max-in-flight` of `[server]` bounds them.
    pub concurrent: Option<NonZeroU32>,
}

/// A limit as written: `"100/min"`, or `{ rate = "100/min", burst = 20 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitFile(pub Rate);

/// `budget` of `[roles.R]` as written: `{ calls = 10000, bytes = "1GiB", per = "day" }`.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BudgetFile {
    /// How many requests each caller may send in the time. Default: any number.
    pub calls: Option<NonZeroU32>,
    /// How many bytes the requests and results of each caller may have in the time. Default: any number.
    pub bytes: Option<SizeText>,
    /// The time, counted from a caller's first request: `"hour"`, `"day"` and so on. Needed.
    pub per: Option<PerFile>,
}

/// The time of a budget: `"minute"`, `"hour"`, `"day"`, and the other names of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerFile(pub Unit);

const LIMIT: &str = "a limit like \"100/min\" (a whole number from 1, a `/`, and one of s, sec, second, min, minute, h, hour, day), or { rate = \"100/min\", burst = 20 }";
const RATE: &str = "a rate like \"100/min\": a whole number from 1, a `/`, and one of s, sec, second, min, minute, h, hour, day";
const PER: &str = "one of \"s\", \"sec\", \"second\", \"min\", \"minute\", \"h\", \"hour\" and \"day\"";

impl LimitsFile {
    /// Decides everything, with the keys of the roles. Returns what is wrong with it.
    #[must_use]
    pub fn resolve(&self, roles: &[(String, RoleFile)]) -> (LimitsSpec, Vec<Problem>) {
        let mut problems = Vec::new();
        let rate = |limit: Option<LimitFile>| limit.map(|limit| limit.0);
        let roles = roles.iter().filter_map(|(name, role)| {
            let budget = role.budget.as_ref().and_then(|budget| budget.resolve(name, &mut problems));
            let spec = RoleSpec { limit: rate(role.limit), budget, concurrent: role.concurrent };
            (spec != RoleSpec::default()).then(|| (name.as_str().into(), spec))
        });
        let spec = LimitsSpec {
            roles: roles.collect(),
            server: rate(self.server),
            address: rate(self.address),
            caller: rate(self.caller),
            concurrent: self.concurrent,
        };
        (spec, problems)
    }
}

impl BudgetFile {
    fn resolve(&self, role: &str, problems: &mut Vec<Problem>) -> Option<BudgetSpec> {
        let path = ["roles", role, "budget"];
        if self.calls.is_none() && self.bytes.is_none() {
            let help =
                "write `calls`, `bytes` or both, like { calls = 10000, bytes = \"1GiB\", per = \"day\" }";
            problems.push(Problem::new(&path, "this budget bounds nothing").help(help));
        }
        let Some(PerFile(per)) = self.per else {
            let message = "this budget says not for how long it is";
            problems.push(Problem::new(&path, message).help("write for how long, like `per = \"day\"`"));
            return None;
        };
        let calls = self.calls.map(|calls| u64::from(calls.get()));
        let bytes = self.bytes.map(|bytes| bytes.0 as u64);
        Some(BudgetSpec { calls, bytes, per })
    }
}

// ---- limits ----

impl<'de> Deserialize<'de> for LimitFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrTable)
    }
}

struct TextOrTable;

/// The second form.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    rate: RateText,
    burst: Option<u32>,
}

struct RateText(u32, Unit);

impl<'de> Visitor<'de> for TextOrTable {
    type Value = LimitFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LIMIT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LimitFile, E> {
        let (count, unit) =
            Rate::split(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Rate::new(count, unit, None).map(LimitFile).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitFile, A::Error> {
        let Table { rate: RateText(count, unit), burst } =
            Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        Rate::new(count, unit, burst).map(LimitFile).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for RateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = RateText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(RATE)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RateText, E> {
                let split = Rate::split(text).map(|(count, unit)| RateText(count, unit));
                split.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for LimitFile {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rate = json_schema!({
            "type": "string",
            "pattern": "^ *[0-9]+ */ *(s|sec|second|min|minute|h|hour|day) *$",
            "description": RATE,
        });
        json_schema!({ "description": LIMIT, "anyOf": [
            rate,
            {
                "type": "object",
                "properties": {
                    "rate": rate,
                    "burst": { "type": "integer", "minimum": 1, "description": "How many at once. Default: as many as the number of `rate`." },
                },
                "required": ["rate"],
                "additionalProperties": false,
            },
        ] })
    }
}

// ---- the time of a budget ----

impl<'de> Deserialize<'de> for PerFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = PerFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(PER)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PerFile, E> {
                let unit = Unit::parse(text).map(PerFile);
                unit.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for PerFile {
    fn schema_name() -> Cow<'static, str> {
        "Per".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["s", "sec", "second", "min", "minute", "h", "hour", "day"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_both_forms() {
        let file: LimitsFile = toml::from_str(
            "server = \"5000/s\"\naddress = { rate = \"60 / min\", burst = 10 }\nconcurrent = 3",
        )
        .unwrap();
        let rate = |count, unit, burst| Rate::new(count, unit, burst).ok();
        assert_eq!(file.server.map(|limit| limit.0), rate(5000, Unit::Second, None));
        assert_eq!(file.address.map(|limit| limit.0), rate(60, Unit::Minute, Some(10)));
        assert_eq!((file.caller, file.concurrent.map(NonZeroU32::get)), (None, Some(3)));
    }

    #[test]
    fn what_is_written_wrongly_is_told_with_what_is_allowed() {
        for (text, place, says) in [
            ("caller = \"100/fortnight\"", "\"100/fortnight\"", "100/min"),
            ("caller = \"0/s\"", "\"0/s\"", "1 or more"),
            ("caller = 100", "100", "100/min"),
            ("caller = { rate = \"x\" }", "\"x\"", "100/min"),
            ("caller = { rate = \"1/s\", burts = 5 }", "burts", "burst"),
            ("caller = { burst = 5 }", "{ burst = 5 }", "rate"),
            ("callers = \"1/s\"", "callers", "caller"),
            ("concurrent = 0", "0", "nonzero"),
        ] {
            let error = toml::from_str::<LimitsFile>(text).unwrap_err();
            assert!(error.message().contains(says), "{text}: {error}");
            assert_eq!(error.span().map(|span| &text[span]), Some(place), "{error}");
        }
    }

    #[test]
    fn a_budget_says_what_it_bounds_and_for_how_long() {
        let roles = |budget: &str| {
            let role: RoleFile = toml::from_str(&format!("limit = \"1/s\"\nbudget = {budget}")).unwrap();
            LimitsFile::default().resolve(&[("support".into(), role)])
        };
        let (spec, problems) = roles("{ calls = 10000, bytes = \"1GiB\", per = \"day\" }");
        assert_eq!(problems, []);
        let budget = BudgetSpec { calls: Some(10_000), bytes: Some(1 << 30), per: Unit::Day };
        assert_eq!(spec.roles.first().and_then(|(_, role)| role.budget), Some(budget));
        let (_, problems) = roles("{}");
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().all(|problem| problem.path == ["roles", "support", "budget"]));
        assert!(toml::from_str::<RoleFile>("budget = { per = \"week\" }").is_err());
    }
}
