//! `retry` and `breaker` of a connector, as written in the file.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use trunkline_service::file::{DurationText, Problem};

use super::{BreakerConfig, RetryConfig};
use crate::switch::{Switch, Switched};

/// The value of `retry`.
pub type RetryFile = Switch<RetryTable>;

/// The value of `breaker`.
pub type BreakerFile = Switch<BreakerTable>;

/// `retry = { ... }`: when a call that failed for no fault of its caller is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RetryTable {
    /// How often a call is tried in all: 2 to 10. Default: 3.
    attempts: Option<u32>,
    /// How long it is waited before the second try, give or take a half; doubled before each further one. At most `10s`. Default: `100ms`.
    wait: Option<DurationText>,
    /// Of a hundred calls that come to something, how many tries more may be made: 1 to 100. Default: 10.
    budget: Option<u32>,
}

/// `breaker = { ... }`: when a source that fails is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BreakerTable {
    /// Of a hundred calls within `window`, how many have to fail for the source to be left alone: 1 to 100. Default: 50.
    share: Option<u32>,
    /// How many calls have to fail at least: 1 to 10000. Default: 10.
    calls: Option<u32>,
    /// The time that is looked at: `1s` to `10m`. Default: `10s`.
    window: Option<DurationText>,
    /// How long the source is left alone at most before one call is let through to look: `100ms` to `10m`. The first wait is an eighth of it, doubled while the source goes on failing. Default: `2s`.
    pause: Option<DurationText>,
}

impl Switched for RetryTable {
    const EXPECTED: &'static str = "`false`, or a table";

    fn on() -> Option<Self> {
        Some(Self::default())
    }
}

impl Switched for BreakerTable {
    const EXPECTED: &'static str = "`false`, or a table";

    fn on() -> Option<Self> {
        Some(Self::default())
    }
}

/// Decides `retry` of the connector at `path`; `None` when it is off. Without the key it is on.
///
/// # Errors
/// All that is wrong with it.
pub fn retry(file: Option<&RetryFile>, path: &[&str]) -> Result<Option<RetryConfig>, Vec<Problem>> {
    let default = RetryConfig::default();
    let Some(file) = file else { return Ok(Some(default)) };
    let Switch::On(table) = file else { return Ok(None) };
    let mut problems = Problems { path, key: "retry", found: Vec::new() };
    let attempts = problems.within("attempts", table.attempts, default.attempts, 2, 10);
    let budget = problems.within("budget", table.budget, default.budget, 1, 100);
    let most = Duration::from_secs(10);
    let wait = problems.lasting("wait", table.wait, default.wait, Duration::from_millis(1), most);
    problems.none().map(|()| Some(RetryConfig { attempts, wait, budget }))
}

/// Decides `breaker` of the connector at `path`; `None` when it is off. Without the key it is on.
///
/// # Errors
/// All that is wrong with it.
pub fn breaker(file: Option<&BreakerFile>, path: &[&str]) -> Result<Option<BreakerConfig>, Vec<Problem>> {
    let default = BreakerConfig::default();
    let Some(file) = file else { return Ok(Some(default)) };
    let Switch::On(table) = file else { return Ok(None) };
    let mut problems = Problems { path, key: "breaker", found: Vec::new() };
    let share = problems.within("share", table.share, default.share, 1, 100);
    let calls = problems.within("calls", table.calls, default.calls, 1, 10_000);
    let most = Duration::from_secs(600);
    let window = problems.lasting("window", table.window, default.window, Duration::from_secs(1), most);
    let pause = problems.lasting("pause", table.pause, default.pause, Duration::from_millis(100), most);
    problems.none().map(|()| Some(BreakerConfig { share, calls, window, pause }))
}

/// What is wrong with one of the tables.
struct Problems<'a> {
    path: &'a [&'a str],
    key: &'static str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn within(&mut self, key: &str, found: Option<u32>, default: u32, least: u32, most: u32) -> u32 {
        let value = found.unwrap_or(default);
        if !(least..=most).contains(&value) {
            self.add(key, &value, &least, &most);
        }
        value
    }

    fn lasting(
        &mut self,
        key: &str,
        found: Option<DurationText>,
        default: Duration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        let value = found.map_or(default, |text| text.0);
        if !(least..=most).contains(&value) {
            let [value, least, most] = [value, least, most].map(|time| format!("{time:?}"));
            self.add(key, &value, &least, &most);
        }
        value
    }

    fn add(
        &mut self,
        key: &str,
        found: &dyn fmt::Display,
        least: &dyn fmt::Display,
        most: &dyn fmt::Display,
    ) {
        let path: Vec<&str> = self.path.iter().copied().chain([self.key, key]).collect();
        let message = format!("`{}.{key}` is {found}, and has to be from {least} to {most}", self.key);
        let help = format!("write a value between these, or `{} = false` to turn it off", self.key);
        self.found.push(Problem::new(&path, message).help(help));
    }

    fn none(self) -> Result<(), Vec<Problem>> {
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Connector {
        retry: Option<RetryFile>,
        breaker: Option<BreakerFile>,
    }

    const PATH: [&str; 2] = ["connectors", "shop"];

    fn read(text: &str) -> Connector {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn nothing_written_is_on_and_false_is_off() {
        let Connector { retry, breaker } = read("");
        assert_eq!(super::retry(retry.as_ref(), &PATH).unwrap(), Some(RetryConfig::default()));
        assert_eq!(super::breaker(breaker.as_ref(), &PATH).unwrap(), Some(BreakerConfig::default()));
        let Connector { retry, breaker } = read("retry = false\nbreaker = false");
        assert_eq!(super::retry(retry.as_ref(), &PATH).unwrap(), None);
        assert_eq!(super::breaker(breaker.as_ref(), &PATH).unwrap(), None);
        assert_eq!(read("retry = true").retry, Some(Switch::On(RetryTable::default())));
    }

    #[test]
    fn a_table_says_what_it_says_and_the_rest_stays_as_it_is() {
        let Connector { retry, breaker } =
            read("retry = { wait = \"5ms\" }\nbreaker = { share = 80, pause = \"1m\" }");
        let retry = super::retry(retry.as_ref(), &PATH).unwrap().unwrap();
        assert_eq!((retry.attempts, retry.wait), (3, Duration::from_millis(5)));
        let breaker = super::breaker(breaker.as_ref(), &PATH).unwrap().unwrap();
        assert_eq!((breaker.share, breaker.calls, breaker.pause), (80, 10, Duration::from_secs(60)));
    }

    #[test]
    fn all_that_is_wrong_is_told_by_its_key() {
        let Connector { retry, breaker } =
            read("retry = { attempts = 1, budget = 0 }\nbreaker = { share = 101, window = \"1h\" }");
        let problems = super::retry(retry.as_ref(), &PATH).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(paths, ["connectors.shop.retry.attempts", "connectors.shop.retry.budget"]);
        assert_eq!(problems[0].message, "`retry.attempts` is 1, and has to be from 2 to 10");
        let problems = super::breaker(breaker.as_ref(), &PATH).unwrap_err();
        assert_eq!(problems[1].message, "`breaker.window` is 3600s, and has to be from 1s to 600s");
        assert!(
            toml::from_str::<Connector>("retry = { attempt = 1 }")
                .unwrap_err()
                .to_string()
                .contains("attempts")
        );
        assert!(
            toml::from_str::<Connector>("retry = 3").unwrap_err().to_string().contains("`false`, or a table")
        );
    }
}
