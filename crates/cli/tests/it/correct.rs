//! A model that reads nothing but what a refusal says gets its call right at the first retry.

use serde_json::{Map, Value, json};

use crate::support::{Folder, Server, config};

const TOOL: &str = r#"
[tools.find_orders]
connector = "shop"
sql = "select :query as query, :limit as most, :status as status, :since as since, :ids as ids, length(:pin) as pin, :code as code"
params.query = { type = "string", min-length = 1 }
params.limit = { type = "integer", default = 10, minimum = 1, maximum = 100 }
params.status = { type = "string", enum = ["open", "paid", "shipped"] }
params.since = { type = "string", format = "date", required = false }
params.ids = { type = "array", items = "integer", required = false }
params.pin = { type = "string", min-length = 4, max-length = 6, secret = true }
params.code = { type = "integer", minimum = 1, maximum = 9, secret = true, required = false }
"#;

/// What the refusal of a call says of one place.
enum Said<'t> {
    /// There is no such argument, another was meant or none.
    Unknown { path: &'t str, meant: Option<&'t str> },
    /// An argument is missing.
    Missing { path: &'t str, allowed: &'t str },
    /// A value is not what is allowed.
    Unfit { path: &'t str, allowed: &'t str, meant: Option<&'t str> },
}

/// Takes the text of a refusal apart, as a reader of plain words does.
fn read(text: &str) -> Vec<Said<'_>> {
    let faults = text.strip_prefix("the arguments were not accepted: ").unwrap_or_else(|| panic!("{text}"));
    let read = |fault| {
        let mut quoted = str::split(fault, '`').skip(1).step_by(2);
        let path = quoted.next().and_then(|path| path.strip_prefix("args."))?;
        let meant = fault.split("did you mean `").nth(1).and_then(|rest| rest.split('`').next());
        if fault.contains("` is unknown") {
            return Some(Said::Unknown { path, meant });
        }
        if let Some((_, allowed)) = fault.split_once(" is required: ") {
            return Some(Said::Missing { path, allowed });
        }
        let (_, allowed) = fault.split_once("allowed is ")?;
        Some(Said::Unfit { path, allowed, meant })
    };
    faults.split("; ").filter_map(read).collect()
}

/// A value as the words of a refusal allow it.
fn fitting(allowed: &str, meant: Option<&str>) -> Value {
    if let Some(meant) = meant {
        return meant.into();
    }
    let numbers: Vec<i64> = allowed
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    match (allowed, numbers.first()) {
        (text, Some(least)) if text.starts_with("an integer from") => (*least).into(),
        (text, Some(least)) if text.starts_with("a string of") => {
            "x".repeat(usize::try_from(*least).unwrap()).into()
        }
        (text, _) if text.starts_with("an integer") => 1.into(),
        (text, _) if text.starts_with("one of `") => text.split('`').nth(1).unwrap().into(),
        ("a string that is not empty", _) => "x".into(),
        (text, _) if text.contains("date") => "2026-02-28".into(),
        (text, _) => panic!("it does not say what is allowed: {text}"),
    }
}

/// Does what the refusal says, and nothing else.
fn corrected(arguments: &Value, text: &str) -> Value {
    let mut arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
    for said in read(text) {
        match said {
            Said::Unknown { path, meant } => {
                let value = arguments.remove(path).unwrap();
                if let Some(meant) = meant {
                    arguments.insert(meant.to_owned(), value);
                }
            }
            // It may be there by now, where its name was misspelt.
            Said::Missing { path, allowed } => {
                arguments.entry(path).or_insert_with(|| fitting(allowed, None));
            }
            Said::Unfit { path, allowed, meant } => {
                let (name, place) = path.split_once('[').map_or((path, None), |(name, at)| (name, Some(at)));
                let value = fitting(allowed, meant);
                match place.and_then(|place| place.trim_end_matches(']').parse::<usize>().ok()) {
                    Some(at) => arguments[name][at] = value,
                    None => drop(arguments.insert(name.to_owned(), value)),
                }
            }
        }
    }
    arguments.into()
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_the_first_retry_is_right() {
    let folder = Folder::new();
    folder.write(&config(TOOL));
    let server = Server::start(&folder);
    for (wrong, places, values, meant) in [
        (
            json!({ "querry": "smith", "limit": 500, "status": "opne", "ids": [1, true, 3], "pin": "hunter2-swordfish", "code": 4711 }),
            &["querry", "limit", "status", "ids[1]", "pin", "code"][..],
            &["hunter2", "4711", "17 ch"][..],
            json!({ "query": "smith", "status": "open" }),
        ),
        (
            json!({ "query": "", "status": "Shiped", "since": "soon", "pin": 90210, "code": "s3cret" }),
            &["query", "status", "since", "pin", "code"],
            &["90210", "s3cret"],
            json!({ "status": "shipped" }),
        ),
        (json!({ "verbose": true }), &["verbose", "query", "status", "pin"], &[], json!({})),
    ] {
        let refused = server.call("find_orders", &wrong);
        let result = &refused["result"];
        assert_eq!((&result["isError"], result.get("structuredContent")), (&json!(true), None), "{refused}");
        let text = result["content"][0]["text"].as_str().unwrap();
        for place in places {
            assert!(text.contains(&format!("`args.{place}`")), "{place}: {text}");
        }
        // Values of secret arguments are told nobody, nor how long they are.
        assert!(values.iter().all(|value| !text.contains(value)), "{text}");
        let retry = corrected(&wrong, text);
        for (name, value) in meant.as_object().unwrap() {
            assert_eq!(&retry[name], value, "{text}");
        }
        let done = server.call("find_orders", &retry);
        assert_eq!(done["result"]["isError"], false, "{retry}: {done}\n{text}");
    }
    let said = server.said();
    assert!(["hunter2", "4711", "90210", "s3cret"].iter().all(|value| !said.contains(value)), "{said}");
}
