//! `trunkline explain`, `policy test` and `policy replay` as a person and a script run them.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::support::{Folder, config};

const POLICY: &str = r#"
[tools.search_customers]
connector = "shop"
sql = "select id, name from customers where name like :q order by id"
params.q = { type = "string" }

[tools.refund]
connector = "shop"
sql = "select :amount as amount, :region as region, :who as who"
params.amount = { type = "number" }
params.region = { type = "string", default = "eu" }
params.who = { from = "caller.subject" }
scopes = ["money:read", "money:write"]

[auth.keys]
store = "./keys.db"

[auth.scopes]
money = ["money:read", "money:write"]

[roles.support]
match = { key = "ann" }
allow = ["tools:search_*"]

[roles.finance]
allow = ["tools:refund"]
when.small = "args.amount < 100"
when.near = "args.region == 'eu'"
message = "up to 100 in the EU"

[roles.blind]
allow = ["tools:*"]
deny = ["tools:refund"]
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write(&config(POLICY));
    folder
}

fn ran(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn explain(folder: &Folder, words: &[&str]) -> (i32, String, String) {
    ran(&folder.run(&[&["explain"], words].concat()))
}

#[test]
fn an_explanation_names_the_rule_the_origin_of_the_role_and_what_would_change_the_answer() {
    let folder = folder();
    let (code, out, err) = explain(&folder, &["--as", "finance", "refund", "amount=500"]);
    assert_eq!((code, &*err), (77, ""));
    let conditions: Vec<&str> = out.lines().filter(|line| line.contains("roles.finance.when.")).collect();
    assert!(out.starts_with("denied: tool `refund` is there by `roles.finance.allow[0]`"), "{out}");
    assert!(
        conditions
            .iter()
            .any(|line| line.contains("when.small@") && line.ends_with("does not hold: args.amount < 100"))
    );
    assert!(
        conditions
            .iter()
            .any(|line| line.contains("when.near@") && line.ends_with("holds: args.region == 'eu'"))
    );
    assert!(out.contains("a call for which `args.amount < 100` holds"), "{out}");
    let (code, out, _) = explain(&folder, &["--as", "finance", "refund", "amount=5"]);
    assert!(code == 0 && out.starts_with("allowed: tool `refund` by `roles.finance.allow[0]`"), "{out}");
    let (code, out, _) = explain(&folder, &["--as", "blind", "refund"]);
    assert!(code == 77 && out.contains("`roles.blind.deny[0]` denies it"), "{out}");
    let (code, out, _) = explain(&folder, &["search_customers"]);
    assert!(code == 77 && out.contains("a caller has it by API key `ann`"), "for the local user: {out}");
}

#[test]
fn what_cannot_be_explained_is_told_with_its_exit_code() {
    let folder = folder();
    let (code, out, err) = explain(&folder, &["--as", "suport", "refund"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.contains("did you mean `support`?"), "{err}");
    let (code, _, err) = explain(&folder, &["--as", "support", "refund", "amount"]);
    assert!(code == 2 && err.contains("`amount` is no argument"), "{err}");
    let (code, out, _) = explain(&folder, &["--as", "support", "serch_customers"]);
    assert!(code == 77 && out.contains("`search_customers` exists"), "{out}");
    folder.write(&config(&POLICY.replace("args.amount <", "args.amont <")));
    let (code, out, err) = explain(&folder, &["--as", "support", "refund"]);
    assert_eq!((code, &*out), (78, ""));
    assert!(err.contains("`args.amount`") && err.contains("^"), "{err}");
}

#[test]
fn a_key_in_a_file_is_judged_as_the_endpoint_judges_it_and_never_printed() {
    let folder = folder();
    let made =
        folder.run(&["keys", "create", "ann", "--role", "finance", "--scope", "money", "--output", "json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    fs::write(folder.path().join("key"), format!("{key}\n")).unwrap();
    let (code, out, err) =
        explain(&folder, &["--token-file", "key", "refund", "amount=5", "--output", "json"]);
    assert_eq!((code, &*err), (0, ""), "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["verdict"], &told["missingScopes"]), (&"allowed".into(), &Value::Array(Vec::new())));
    let roles: Vec<(&str, &str)> = told["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| (role["name"].as_str().unwrap(), role["from"].as_str().unwrap()))
        .collect();
    assert_eq!(
        roles,
        [("support", "API key `ann` (roles.support.match)"), ("finance", "the key was created with it")]
    );
    fs::write(folder.path().join("key"), format!("{key}x")).unwrap();
    let (code, out, err) = explain(&folder, &["--token-file", "key", "refund"]);
    assert_eq!((code, &*out), (77, ""), "{err}");
    assert!(!err.contains(key), "{err}");
    let (code, ..) = explain(&folder, &["--token-file", "none", "refund"]);
    assert_eq!(code, 2);
}

const TABLE: &str = r#"
[callers.ann]
key = "ann"

[callers.robot]
roles = ["finance"]
scopes = ["money"]

[[expect]]
caller = "ann"
tool = "search_customers"
is = "allowed"

[[expect]]
caller = "ann"
tool = ["refund"]
is = "unlisted"

[[expect]]
caller = "robot"
tool = "refund"
args = { amount = 500 }
is = "refused"

[[expect]]
caller = { roles = ["finance"] }
tool = "refund"
args = { amount = 5 }
is = "challenged"

[[expect]]
caller = { local = true }
tool = ["refund", "search_customers"]
is = "denied"
"#;

#[test]
fn a_table_of_expectations_is_tried_and_what_fails_is_told_with_the_rule_that_decided() {
    let folder = folder();
    let table = folder.path().join("expect.toml");
    fs::write(&table, TABLE).unwrap();
    let (code, out, err) = ran(&folder.run(&["policy", "test", "expect.toml", "--offline"]));
    assert_eq!((code, &*out, &*err), (0, "6 expectations: all as expected\n", ""));
    fs::write(&table, TABLE.replace("amount = 500", "amount = 50")).unwrap();
    let (code, out, _) = ran(&folder.run(&["policy", "test", "expect.toml"]));
    assert_eq!(code, 1);
    assert!(out.starts_with("expectation 3: tool `refund` amount=50 for robot\n  - expected refused\n  + found    allowed by `roles.finance.allow[0]` (roles finance)\n"), "{out}");
    assert!(out.ends_with("6 expectations: 1 not as expected\n"), "{out}");
    let (code, out, _) = ran(&folder.run(&["policy", "test", "expect.toml", "--output", "json"]));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["failed"]), (1, &1.into()));
    for (slip, told) in [
        ("is = \"allowed\"", "no table of expectations"),
        ("caller = \"anne\"", "did you mean `ann`?"),
        ("tool = []", "it names nothing"),
    ] {
        let key = slip.split(' ').next().unwrap();
        let line = TABLE.lines().find(|line| line.starts_with(key)).unwrap();
        let slip = if key == "is" { "is = \"maybe\"" } else { slip };
        fs::write(&table, TABLE.replacen(line, slip, 1)).unwrap();
        let (code, _, err) = ran(&folder.run(&["policy", "test", "expect.toml", "--offline"]));
        assert!(code == 2 && err.contains(told), "{slip}: {err}");
    }
}

const RECORD: &str = concat!(
    r#"{"seq":1,"node":"n","kind":"start","at":"2026-11-26T05:00:00.000Z","mac":"00"}"#,
    "\n",
    r#"{"seq":2,"node":"n","kind":"call","at":"2026-11-26T05:00:01.000Z","caller":{"subject":"ann","by":"key","key":"k1","name":"ann"},"roles":["support"],"method":"tools/call","tool":"search_customers","allowed":true,"rule":"roles.support.allow[0]","outcome":"ok","mac":"00"}"#,
    "\n",
    r#"{"seq":3,"node":"n","kind":"call","at":"2026-11-26T05:00:02.000Z","caller":{"subject":"r","by":"key","key":"k2","name":"r"},"roles":["finance"],"scopes":["money:read","money:write"],"method":"tools/call","tool":"refund","allowed":true,"rule":"roles.finance.allow[0]","conditions":{"roles.finance.when.old@00000000":true},"outcome":"ok","mac":"00"}"#,
    "\n{\"seq\":\n",
);

#[test]
fn a_recorded_day_tells_what_would_differ_and_what_it_cannot_tell() {
    let folder = folder();
    fs::write(folder.path().join("audit.jsonl"), RECORD).unwrap();
    let (code, out, err) = ran(&folder.run(&["policy", "replay", "audit.jsonl", "--offline"]));
    assert_eq!(code, 1);
    assert!(err.contains("line 4 of `audit.jsonl` is none of an audit record"), "{err}");
    assert!(out.contains("cannot be decided from the record:\n  tool `refund` for finance (1 call)\n    - allowed by `roles.finance.allow[0]`\n    ? condition `roles.finance.when."), "{out}");
    assert!(
        out.ends_with("2 decisions: 1 as before, 0 would differ, 1 undecided; 1 line could not be read\n"),
        "{out}"
    );
    folder.write(&config(
        &POLICY.replace("tools:search_*", "tools:search_orders_*").replace("deny = [\"tools:refund\"]", ""),
    ));
    let (code, out, _) =
        ran(&folder.run(&["policy", "replay", "audit.jsonl", "--offline", "--output", "json"]));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["differing"], &told["undecided"]), (1, &1.into(), &1.into()), "{out}");
    assert_eq!(told["groups"][1]["after"], "not there");
    let (code, _, err) = ran(&folder.run(&["policy", "replay", "none.jsonl", "--offline"]));
    assert!(code == 2 && err.contains("`none.jsonl`"), "{err}");
}

#[test]
fn check_points_at_the_slip_in_a_condition_and_warns_of_a_pattern_that_fits_nothing() {
    let folder = Folder::new();
    let text = POLICY
        .replace("args.region == 'eu'", "args.who == 'ann'")
        .replace("\"tools:search_*\"", "\"tools:serach_*\"");
    folder.write(&config(&text));
    let (code, _, err) = ran(&folder.run(&["check"]));
    assert_eq!(code, 78);
    assert!(err.contains("for tool `refund`: there is no argument `who`"), "hidden from clients: {err}");
    assert!(err.contains("did you mean `tools:search_customers`?"), "{err}");
}
