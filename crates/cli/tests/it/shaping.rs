//! `max-result`, `redact` and `encrypt` as they are used: through the real binary, from fresh and from kept answers, in every form of
//! text.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Folder, Server, config, http, trunkline};

const PEOPLE: &str = "create table people (id integer primary key, name text not null, ssn text not null, mail text not null, card integer, pay real) strict;
    insert into people values (1, 'Ann', '123-45-6789', 'ann@example.com', 4111111111111111, 5000.5), (2, 'Bob', '987-65-4321', 'none', 7, 10.0);";

/// A folder with people, and a tool for each form of text.
fn folder(keys: &str) -> Folder {
    let folder = Folder::new();
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database.execute_batch(PEOPLE).unwrap();
    let tools: String = ["json", "csv", "markdown"]
        .map(|form| format!("[tools.people_{form}]\nconnector = \"shop\"\ntext = \"{form}\"\nsql = \"select id, name, ssn, mail, card, pay from people order by id\"\ncache = {{ ttl = \"1m\" }}\n"))
        .concat();
    folder.write(&config(&format!("{keys}\n{tools}")));
    folder
}

fn structured(answer: &Value) -> &Value {
    &answer["result"]["structuredContent"]
}

#[test]
fn what_is_hidden_is_hidden_in_every_form_and_in_kept_answers() {
    let folder = folder("redact = [\"email\", \"card\", \"rows.*.ssn\", \"pay\"]");
    let server = Server::start(&folder);
    for form in ["json", "csv", "markdown", "json"] {
        let answer = server.call(&format!("people_{form}"), &json!({}));
        let rows = &structured(&answer)["rows"];
        assert_eq!(
            rows[0],
            json!({ "id": 1, "name": "Ann", "ssn": "[redacted]", "mail": "[email]", "card": "[card]", "pay": "[redacted]" }),
            "{answer}"
        );
        assert_eq!((&rows[1]["card"], &rows[1]["mail"]), (&json!(7), &json!("none")));
        let whole = answer.to_string();
        for secret in ["123-45", "987-65", "ann@", "41111", "5000.5", "10.0"] {
            assert!(!whole.contains(secret), "{form} {secret}: {whole}");
        }
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        match form {
            "json" => assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), structured(&answer)),
            "csv" => assert_eq!(text.lines().nth(1), Some("1,Ann,[redacted],[email],[card],[redacted]")),
            _ => assert_eq!(
                text.lines().nth(2),
                Some("| 1 | Ann | [redacted] | [email] | [card] | [redacted] |")
            ),
        }
    }
    // What is listed is true of what leaves.
    let list = crate::support::ask(server.address, "tools/list", None, json!({}));
    let tool = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .find(|tool| tool["name"] == "people_json")
        .unwrap();
    let answer = server.call("people_json", &json!({}));
    assert!(jsonschema::is_valid(&tool["outputSchema"], structured(&answer)), "{}", tool["outputSchema"]);
    let file = fs::read_to_string(folder.config()).unwrap();
    let admin =
        file.split("[admin]\nlisten = \"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    let (_, page) = http(admin, "GET /metrics", "", "");
    assert!(page.contains("trunkline_redact_hidden_total{tool=\"people_json\",kind=\"email\"}"), "{page}");
}

#[test]
fn sealed_fields_are_opened_by_the_person_and_by_nobody_else() {
    let made = Folder::new();
    let output = made.run(&["secret", "keygen"]);
    let recipient = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let folder = folder(&format!("encrypt = {{ fields = [\"ssn\"], to = \"{recipient}\" }}"));
    let server = Server::start(&folder);
    let answer = server.call("people_csv", &json!({}));
    assert!(!answer.to_string().contains("123-45"), "{answer}");
    let field = structured(&answer)["rows"][0]["ssn"].as_str().unwrap().to_owned();
    let mut command = trunkline();
    command.args(["secret", "unseal"]).current_dir(made.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(field.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"123-45-6789");
}

#[test]
fn a_result_over_its_bound_is_cut_where_the_next_page_begins() {
    let folder = folder("max-result = \"3KB\"\nredact = [\"ssn\"]");
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database
        .execute_batch("with recursive c(x) as (select 3 union all select x + 1 from c where x < 200) insert into people select x, 'Name ' || x, 'S' || x, 'm', x, x from c")
        .unwrap();
    let server = Server::start(&folder);
    for form in ["json", "csv", "markdown"] {
        let tool = format!("people_{form}");
        let answer = server.call(&tool, &json!({}));
        let content = structured(&answer);
        assert_eq!(content["truncated"], true, "{answer}");
        assert!(answer["result"].to_string().len() < 3400, "{}", answer["result"].to_string().len());
        let rows = content["rows"].as_array().unwrap();
        assert_eq!(content["rowCount"], rows.len());
        // The database cut it, so that its cursor leads on to the very next row.
        let next = server.call(&tool, &json!({ "cursor": content["nextCursor"] }));
        assert_eq!(structured(&next)["rows"][0]["id"], rows.len() + 1, "{form}: {next}");
    }
}

#[test]
fn what_is_wrong_with_the_keys_is_told_at_their_place() {
    let folder = folder(
        "redact = [\"emial\", \"a..b\"]\nmax-result = \"1KB\"\nencrypt = { fields = [\"ssn\"], to = \"age1nothing\" }",
    );
    let checked = folder.run(&["check", "--output", "json"]);
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
    let told: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let keys: Vec<&str> =
        told["problems"].as_array().unwrap().iter().map(|problem| problem["key"].as_str().unwrap()).collect();
    for key in [
        "connectors.shop.redact.0",
        "connectors.shop.redact.1",
        "connectors.shop.max-result",
        "connectors.shop.encrypt.to",
    ] {
        assert!(
            keys.iter().any(|found| found.contains(key) || found.replace(['[', ']'], ".").contains(key)),
            "{key}: {keys:?}"
        );
    }
}

#[test]
fn the_rest_of_a_result_is_shaped_as_its_tool_is() {
    let folder = folder("max-rows = 2");
    let file = fs::read_to_string(folder.config()).unwrap();
    let hidden = file.replacen("text = \"csv\"", "text = \"csv\"\nredact = [\"ssn\", \"email\"]", 1);
    folder.write(&hidden);
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database
        .execute_batch("insert into people (name, ssn, mail, card, pay) values ('Cy', '555-44-3333', 'cy@example.com', 1, 1.0), ('Di', '222-11-0000', 'di@example.com', 2, 2.0)")
        .unwrap();
    let server = Server::start(&folder);
    let read = |tool: &str| {
        let answer = server.call(tool, &json!({}));
        let blocks = answer["result"]["content"].as_array().unwrap();
        let uri = blocks
            .iter()
            .find_map(|block| block["uri"].as_str())
            .unwrap_or_else(|| panic!("no link: {answer}"))
            .to_owned();
        let rest = crate::support::ask(server.address, "resources/read", Some(&uri), json!({ "uri": uri }));
        rest["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{rest}")).to_owned()
    };
    let rest = read("people_csv");
    assert!(rest.contains("Cy,[redacted],[email]") && !rest.contains("555-44"), "{rest}");
    // Another tool of the connector hides nothing.
    assert!(read("people_json").contains("Cy,555-44-3333,cy@example.com"));
}

#[test]
fn check_warns_of_names_that_callers_can_change() {
    let folder = folder("ad-hoc-sql = \"read-only\"\nredact = [\"ssn\"]");
    let checked = folder.run(&["check"]);
    let told = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{told}");
    assert!(told.contains("is seen under another") && told.contains("ad-hoc-sql"), "{told}");
}
