//! `trunkline check`: its exit codes, what it prints, and what programs read of it.

use std::process::Output;

use serde_json::Value;

use crate::support::{COUNT, Folder, config, free_port, trunkline};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn problems(output: &Output) -> Vec<Value> {
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    printed["problems"].as_array().unwrap().clone()
}

#[test]
fn a_right_file_exits_0_and_shows_what_the_tools_cost() {
    let folder = Folder::new();
    folder.write(&config(COUNT));
    let output = folder.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("count_customers") && text(&output.stdout).contains("tokens"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn every_statement_that_is_wrong_is_marked_in_the_sql_at_once() {
    let folder = Folder::new();
    let tools = "[tools.a]\nconnector = \"shop\"\nsql = \"\"\"\nselect id, nmae\nfrom customers\n\"\"\"\n\
        [tools.b]\nconnector = \"shop\"\nsql = 'select oops from customers'\n[tools.c]\nconnector = \"shop\"\nsql = 'select 1 as one'\ntitel = 'x'\n";
    folder.write(&format!("[connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\n{tools}"));
    let output = folder.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(text(&output.stderr));
    let output = folder.run(&["check", "--output", "json"]);
    assert_eq!(output.status.code(), Some(78));
    let found: Vec<_> = problems(&output)
        .iter()
        .map(|problem| (problem["line"].clone(), problem["column"].clone(), problem["key"].clone()))
        .collect();
    let expected = [(7, 12, "tools.a.sql"), (12, 15, "tools.b.sql"), (16, 1, "tools.c.titel")];
    assert_eq!(found, expected.map(|(line, column, key)| (line.into(), column.into(), key.into())));
}

#[test]
fn what_does_not_answer_exits_69_and_a_wrong_file_besides_78() {
    let folder = Folder::new();
    let missing = "[connectors.other]\ntype = \"sqlite\"\npath = \"other.db\"\n";
    let down = format!(
        "[connectors.down]\ntype = \"postgres\"\nurl = \"postgres://u:letmein@127.0.0.1:{}/db\"\n",
        free_port()
    );
    folder.write(&config(&format!("{missing}{down}")));
    let output = folder.run(&["check", "--output", "json"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let found = problems(&output);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(!text(&output.stdout).contains("letmein"));
    assert_eq!(folder.run(&["check", "--offline"]).status.code(), Some(0));
    folder.write(&config(&format!(
        "{missing}[tools.a]\nconnector = \"shop\"\nsql = \"select nothing from customers\"\n"
    )));
    assert_eq!(folder.run(&["check"]).status.code(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_exits_78_at_its_url_and_an_unverified_server_is_a_warning() {
    let secure = trunkline_testkit::postgres::SecurePostgres::start().await;
    let folder = Folder::new();
    let connector = |url: &str| config(&format!("[connectors.far]\ntype = \"postgres\"\nurl = {url:?}\n"));
    let good = secure.url("anyway", "localhost", "sslmode=require");
    folder.write(&connector(&good.replace("p%40s", "letmein")));
    let output = folder.run(&["check", "--output", "json"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let found = problems(&output);
    assert_eq!(found[0]["key"], "connectors.far.url", "{found:?}");
    assert!(found[0]["message"].as_str().unwrap().contains("password is wrong"), "{found:?}");
    assert!(!text(&output.stdout).contains("letmein") && !text(&output.stdout).contains("anyway"));
    folder.write(&connector(&good));
    let output = folder.run(&["check", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["warnings"][0]["key"], "connectors.far.url", "{printed}");
    assert!(text(&output.stdout).contains("not verified"), "{printed}");
}

#[test]
fn the_value_of_a_reference_is_not_shown_whoever_tells_of_it() {
    let folder = Folder::new();
    folder.write("[connectors.shop]\ntype = \"sqlite\"\npath = \"${SECRET}\"\n");
    for form in ["text", "json"] {
        let output = trunkline()
            .args(["check", "--output", form])
            .current_dir(folder.path())
            .env("SECRET", "/nowhere/letmein.db")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains("${SECRET}") && !told.contains("letmein"), "{told}");
    }
}

#[test]
fn the_cost_counts_every_page_of_the_list() {
    let folder = Folder::new();
    let tools: String = (0..300)
        .map(|number| format!("[tools.t{number}]\nconnector = \"shop\"\nsql = \"select {number} as n\"\n"))
        .collect();
    folder.write(&config(&tools));
    let output = folder.run(&["check"]);
    let told = text(&output.stdout);
    assert!(told.contains("1 connector, 300 tools, about") && told.contains("t299"), "{told}");
}

#[test]
fn a_file_that_is_missing_or_empty_exits_78_with_an_empty_stdout() {
    let folder = Folder::new();
    let output = folder.run(&["check", "-c", "nothing.toml"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0));
    assert!(text(&output.stderr).contains("`nothing.toml` cannot be read"));
    folder.write("");
    assert_eq!(folder.run(&["check"]).status.code(), Some(78));
    let output = folder.run(&["check", "--output", "json"]);
    assert_eq!(problems(&output)[0]["line"], 1);
}

#[test]
fn a_name_that_a_connector_makes_by_itself_is_taken() {
    let folder = Folder::new();
    folder.write(&format!(
        "[connectors.shop]\ntype = \"sqlite\"\npath = \"shop.db\"\nad-hoc-sql = \"read-only\"\n{}",
        COUNT.replace("count_customers", "shop_query")
    ));
    let output = folder.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(text(&output.stderr));
}

#[test]
fn a_command_line_that_cannot_be_understood_exits_2() {
    let folder = Folder::new();
    for args in [
        &["check", "--nothing"][..],
        &["serve", "--listen", "here"],
        &["serve", "--stdio", "--listen", "127.0.0.1:1"],
        &[],
    ] {
        assert_eq!(folder.run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn schema_prints_the_committed_schema() {
    let output = Folder::new().run(&["schema"]);
    let committed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/trunkline.schema.json")).unwrap();
    assert!(text(&output.stdout) == committed, "`trunkline schema` differs from trunkline.schema.json");
}

#[test]
fn what_a_database_is_told_of_callers_is_checked_at_its_place() {
    let folder = Folder::new();
    let file = |keys: &str| {
        format!("[connectors.shop]\ntype = \"postgres\"\nurl = \"postgres://app@localhost/shop\"\n{keys}\n")
    };
    for keys in [
        "session = { \"app.tenant\" = \"caller.claims.tenant\" }\nrole = \"caller.claims.db_role\"",
        // An expression is code: nothing in it is read from the environment.
        "session.\"app.tenant\" = \"'${NOWHERE}' + caller.subject\"",
    ] {
        folder.write(&file(keys));
        let output = folder.run(&["check", "--offline"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    folder.write(&file("session.\"app.tenant\" = \"args.tenant\"\nrole = \"caller.clams\""));
    let output = folder.run(&["check", "--offline"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("args.tenant") && told.contains("clams"), "{told}");
    assert!(told.contains("toml:4:") && told.contains("toml:5:"), "{told}");
}

/// What PostgreSQL says of a statement stands in the file under the very word.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_postgresql_does_not_take_is_marked_in_the_file() {
    let database = trunkline_testkit::postgres::database().await;
    database.run("create table customers (id int primary key, name text, email text)").await;
    let folder = Folder::new();
    let tool = |name: &str, sql: &str| format!("\n[tools.{name}]\nconnector = \"db\"\nsql = {sql}\n");
    folder.write(&format!(
        "[connectors.db]\ntype = \"postgres\"\nurl = \"${{DATABASE_URL}}\"\n{}{}{}{}{}{}",
        tool("lines", "\"\"\"\nselect id,\n\t\tnmae\nfrom customers\nwhere id = :id\n\"\"\""),
        tool("wide", "\"select '表 größe', emial from customers where name = :name\""),
        tool("syntax", "'select id form customers'"),
        tool("table", "\"select \\u0069d from \\\"custmers\\\" where id = :id\""),
        tool("function", "'select lowr(name) from customers'"),
        tool("two", "'select 1; select 2'"),
    ));
    let output = trunkline()
        .arg("check")
        .current_dir(folder.path())
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(text(&output.stderr));
    assert!(text(&output.stdout).contains("; 6 problems"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_shown_and_counted_apart_and_change_no_exit_code() {
    let database = trunkline_testkit::postgres::database().await;
    let folder = Folder::new();
    folder.write("[connectors.db]\ntype = \"postgres\"\nurl = \"${DATABASE_URL}\"\n");
    let url = format!("{}?sslmode=prefer", database.url);
    let check = |args: &[&str]| {
        trunkline().args(args).current_dir(folder.path()).env("DATABASE_URL", &url).output().unwrap()
    };
    let output = check(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.starts_with("warning: ") && told.contains("--> trunkline.toml:3:7"), "{told}");
    assert!(!told.contains("error:"), "{told}");
    let last = text(&output.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("; no problems, ") && last.contains(" warning"), "{last}");
    let printed: Value = serde_json::from_slice(&check(&["check", "--output", "json"]).stdout).unwrap();
    assert_eq!(printed["problems"].as_array().map(Vec::len), Some(0));
    assert_eq!(printed["warnings"][0]["line"], 3);
}

#[test]
fn a_store_without_seal_keys_is_warned_of_by_check_and_at_every_start() {
    let folder = Folder::new();
    // Nobody listens there: what the file says is known without the store.
    let store = "[store]\nredis = \"redis://127.0.0.1:1\"\n";
    let said = "warning: without `[server] seal-keys` the nodes share limits only";
    let told = |output: &Output| text(&output.stderr).matches(said).count();
    folder.write(&config(&format!("{COUNT}{store}")));
    // With its input at its end a server over stdio starts and ends.
    for (args, count) in [(&["check", "--offline"][..], 1), (&["check"], 1), (&["serve", "--stdio"], 1)] {
        let output = folder.run(args);
        assert_eq!((output.status.code(), told(&output)), (Some(0), count), "{args:?}: {output:?}");
    }
    let keys = format!("[server]\nseal-keys = [\"{}\"]\n", "ab".repeat(32));
    folder.write(&config(&format!("{COUNT}{store}")).replace("[server]\n", &keys));
    for args in [&["check"][..], &["serve", "--stdio"]] {
        let output = folder.run(args);
        assert_eq!((output.status.code(), told(&output)), (Some(0), 0), "{args:?}: {output:?}");
    }
}
