//! `trunkline keys` as a person and a script run it: what is printed where, and exit codes.

use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use trunkline_testkit::postgres::{PrivatePostgres, database};

use crate::support::{COUNT, Folder, Server, config, eventually, http, pause, trunkline, wait};

const ROLES: &str = "[roles.support]\nallow = [\"tools:*\"]\n[roles.billing]\nallow = [\"tools:*\"]\n";

/// A folder whose file keeps keys beside it.
fn folder() -> Folder {
    folder_with("./keys.db", ROLES)
}

fn folder_with(store: &str, rest: &str) -> Folder {
    let folder = Folder::new();
    folder.write(&config(&format!("[auth.keys]\nstore = \"{store}\"\n{rest}")));
    folder
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(folder: &Folder, words: &[&str]) -> Value {
    let output = folder.run(&[&["keys"], words, &["--output", "json"]].concat());
    assert_eq!(code(&output), 0, "{}", err(&output));
    serde_json::from_str(&out(&output)).unwrap()
}

fn refused(folder: &Folder, expected: i32, words: &[&str]) -> String {
    let output = folder.run(&[&["keys"], words].concat());
    assert_eq!((code(&output), &*out(&output)), (expected, ""), "{}", err(&output));
    err(&output)
}

#[test]
fn a_key_is_on_stdout_once_and_alone_and_a_list_shows_whose_it_is() {
    let folder = folder();
    let made = folder.run(&[
        "keys",
        "create",
        "ci",
        "--role",
        "support",
        "--scope",
        "files:read",
        "--expires",
        "90d",
    ]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let key = out(&made);
    let key = key.strip_suffix('\n').unwrap();
    assert!(key.starts_with("tlk_") && key.len() == 66 && !key.contains(char::is_whitespace), "{key}");
    let id = &key[4..16];
    assert!(err(&made).contains(&format!("key `{id}` of `ci`, until 2")), "{}", err(&made));
    assert!(!err(&made).contains(&key[17..]));
    let listed = folder.run(&["keys", "list"]);
    let text = out(&listed);
    for part in ["last use", id, "ci", "active", "support", "files:read", "never"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&key[17..]));
    let list = json(&folder, &["list"]);
    let entry = &list["keys"][0];
    assert_eq!((&entry["id"], &entry["name"], &entry["state"]), (&id.into(), &"ci".into(), &"active".into()));
    assert_eq!((&entry["roles"][0], &entry["scopes"][0]), (&"support".into(), &"files:read".into()));
    assert!(entry["expires"].as_str().unwrap().ends_with('Z') && entry["lastUse"].is_null());
    let mode = std::fs::metadata(folder.path().join("keys.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_program_makes_replaces_and_revokes_keys() {
    let folder = folder();
    let first =
        json(&folder, &["create", "ci", "--role", "support", "--role", "billing", "--role", "support"]);
    assert!(first["expires"].is_null() && first.as_object().unwrap().len() == 3, "{first}");
    assert_eq!(first["key"].as_str().unwrap()[4..16], *first["id"].as_str().unwrap());
    let second = json(&folder, &["rotate", "ci", "--overlap", "1h", "--expires", "30d"]);
    assert_eq!(second["replaces"]["id"], first["id"]);
    let list = json(&folder, &["list"]);
    let state = |id: &Value| {
        let keys = list["keys"].as_array().unwrap();
        keys.iter()
            .find(|key| key["id"] == *id)
            .map(|key| (key["state"].clone(), key["roles"].clone()))
            .unwrap()
    };
    let roles: Value = ["support", "billing"].into();
    assert_eq!(state(&first["id"]), ("replaced".into(), roles.clone()));
    assert_eq!(state(&second["id"]), ("active".into(), roles));
    // A name is the key that holds; an id is that one.
    let third = json(&folder, &["rotate", "ci", "--overlap", "0"]);
    assert_eq!(third["replaces"]["id"], second["id"]);
    let old = first["id"].as_str().unwrap();
    assert!(refused(&folder, 2, &["rotate", old]).contains("replaced"));
    assert_eq!(json(&folder, &["revoke", old])["revoked"], Value::from([old]));
    let rest = json(&folder, &["revoke", "ci"]);
    assert_eq!(rest["revoked"].as_array().unwrap().len(), 2);
    assert_eq!(json(&folder, &["revoke", "ci"])["revoked"].as_array().unwrap().len(), 0);
    assert!(json(&folder, &["create", "ci"])["key"].is_string());
}

#[test]
fn what_cannot_be_done_is_told_with_what_to_do() {
    let folder = folder();
    assert!(refused(&folder, 2, &["revoke", "nobody"]).contains("no key was made yet"));
    assert!(!folder.path().join("keys.db").exists());
    let told = refused(&folder, 2, &["create", "ci", "--role", "suport"]);
    assert!(told.contains("no role `suport`; did you mean `support`?"), "{told}");
    let key = json(&folder, &["create", "ci", "--role", "support"]);
    let told = refused(&folder, 2, &["create", "ci", "--role", "billing"]);
    assert!(told.contains("`ci` has a key already") && told.contains("rotate"), "{told}");
    assert!(refused(&folder, 2, &["revoke", "nobody"]).contains("`nobody`"));
    assert!(refused(&folder, 2, &["create", "a\nb"]).contains("control characters"));
    assert!(refused(&folder, 2, &["create", "a", "--scope", "a b"]).contains("is no scope"));
    assert!(refused(&folder, 2, &["create", "a", "--expires", "soon"]).contains("90d"));
    // A key on the command line is refused, not repeated, and its id is told, so that it can be revoked.
    let secret = key["key"].as_str().unwrap();
    for action in ["revoke", "rotate"] {
        let told = refused(&folder, 2, &[action, secret]);
        let id = key["id"].as_str().unwrap();
        assert!(
            told.contains(&format!("trunkline keys revoke {id}")) && !told.contains(&secret[17..]),
            "{told}"
        );
        let told = refused(&folder, 2, &[action, &secret[..60]]);
        assert!(!told.contains(&secret[17..40]), "{told}");
    }
    assert_eq!(json(&folder, &["list"])["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_file_or_a_store_that_has_to_be_seen_to_is_78() {
    let folder = Folder::new();
    assert!(refused(&folder, 78, &["list"]).contains("trunkline.toml"));
    folder.write(&config(""));
    assert!(refused(&folder, 78, &["list"]).contains("[auth.keys]"));
    folder.write(&config("[auth.keys]\nstore = \"./none/keys.db\"\n"));
    assert!(refused(&folder, 78, &["create", "ci"]).contains("does not exist; make it"));
    folder.write(&config("[auth.keys]\nstore = \"./shop.db\"\n"));
    std::fs::set_permissions(folder.path().join("shop.db"), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(refused(&folder, 78, &["create", "ci"]).contains("of something else"));
    folder.write(&config("[auth.keys]\nstore = \"postgres:shop\"\n"));
    assert!(refused(&folder, 78, &["create", "ci"]).contains("postgres"));
    // Without roles in the file nobody has one.
    folder.write(&config("[auth.keys]\nstore = \"./keys.db\"\n"));
    assert!(refused(&folder, 2, &["create", "ci", "--role", "support"]).contains("has no `[roles]`"));
    assert!(json(&folder, &["create", "ci"])["key"].is_string());
    std::fs::set_permissions(folder.path().join("keys.db"), PermissionsExt::from_mode(0o620)).unwrap();
    assert!(refused(&folder, 78, &["list"]).contains("chmod 600"));
}

#[test]
fn a_store_that_cannot_be_used_is_told_by_check_and_none_is_made() {
    let check = |folder: &Folder| {
        let output = folder.run(&["check", "--output", "json"]);
        let told: Value = serde_json::from_str(&out(&output)).unwrap();
        (code(&output), told["problems"].clone())
    };
    let folder = folder_with("./keys.db", &format!("{ROLES}{COUNT}"));
    assert_eq!(check(&folder), (0, Value::Array(Vec::new())));
    assert!(!folder.path().join("keys.db").exists());
    let folder = folder_with("./none/keys.db", &format!("{ROLES}{COUNT}"));
    let (code, problems) = check(&folder);
    assert_eq!((code, &problems[0]["key"]), (78, &"auth.keys.store".into()), "{problems}");
    assert!(problems[0]["message"].as_str().unwrap().contains("does not exist; make it"), "{problems}");
}

#[test]
fn many_processes_make_keys_at_once() {
    let folder = folder();
    let made: Vec<_> = (0..12)
        .map(|number| {
            // Two of each name: one of them is told that there is a key.
            let name = format!("robot-{}", number / 2);
            let mut command = trunkline();
            command.args(["keys", "create", &name, "--role", "support"]).current_dir(folder.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .map(|mut child| wait(&mut child).code())
        .collect();
    assert_eq!(made.iter().filter(|code| **code == Some(0)).count(), 6, "{made:?}");
    assert_eq!(made.iter().filter(|code| **code == Some(2)).count(), 6, "{made:?}");
    assert_eq!(json(&folder, &["list"])["keys"].as_array().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_postgresql_are_the_same_for_all_who_share_it() {
    let database = database().await;
    let connector = format!("[connectors.central]\ntype = \"postgres\"\nurl = \"{}\"\n{ROLES}", database.url);
    let (one, other) =
        (folder_with("postgres:central", &connector), folder_with("postgres:central", &connector));
    assert_eq!(json(&one, &["list"])["keys"].as_array().unwrap().len(), 0);
    let key = json(&one, &["create", "ci", "--role", "support"]);
    assert_eq!(json(&other, &["list"])["keys"][0]["id"], key["id"]);
    assert!(refused(&other, 2, &["create", "ci"]).contains("has a key already"));
    assert_eq!(json(&other, &["rotate", "ci"])["replaces"]["id"], key["id"]);
    assert_eq!(json(&other, &["revoke", "ci"])["revoked"].as_array().unwrap().len(), 2);
    assert_eq!(json(&one, &["list"])["keys"][0]["state"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_69() {
    let mut server = PrivatePostgres::start().await;
    let connector =
        format!("[connectors.central]\ntype = \"postgres\"\nurl = \"{}\"\n", server.url("postgres"));
    let folder = folder_with("postgres:central", &connector);
    server.kill();
    for words in [&["list"][..], &["create", "ci"], &["revoke", "ci"]] {
        assert!(refused(&folder, 69, words).contains("does not answer"));
    }
}

/// Calls the tool with that header; the status.
fn status(address: SocketAddr, header: &str) -> u16 {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count_customers","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let head = format!(
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: count_customers\r\n{header}"
    );
    http(address, "POST /mcp", &head, body).0
}

fn with(key: &Value) -> [String; 2] {
    let key = key["key"].as_str().unwrap();
    [format!("X-API-Key: {key}\r\n"), format!("Authorization: Bearer {key}\r\n")]
}

/// Two servers that share a store: a key made while they run is taken, and one that is revoked is refused by both within a second.
fn two_nodes(folders: [&Folder; 2]) {
    let mut servers = folders.map(Server::start);
    let statuses = |header: &str| [status(servers[0].address, header), status(servers[1].address, header)];
    assert_eq!(statuses(""), [401, 401]);
    let key = json(folders[0], &["create", "ci", "--role", "support"]);
    let headers = with(&key);
    eventually("the key is not taken", || statuses(&headers[0]) == [200, 200]);
    assert_eq!(statuses(&headers[1]), [200, 200]);
    assert_eq!(
        statuses(&format!("X-API-Key: {}\r\n", key["key"].as_str().unwrap().to_uppercase())),
        [401, 401]
    );
    let new = with(&json(folders[1], &["rotate", "ci"]));
    eventually("the new key is not taken", || statuses(&new[0]) == [200, 200]);
    assert_eq!(statuses(&headers[0]), [200, 200]);
    let id = key["id"].as_str().unwrap();
    json(folders[1], &["revoke", id]);
    let revoked = Instant::now();
    while statuses(&headers[0]) != [401, 401] {
        assert!(revoked.elapsed() < Duration::from_secs(1), "a revoked key goes on");
        pause();
    }
    assert_eq!(statuses(&new[1]), [200, 200]);
    for server in &mut servers {
        server.signal("TERM");
        server.wait();
    }
    // The last use is written at the end at the latest.
    let list = json(folders[0], &["list"]);
    assert!(list["keys"].as_array().unwrap().iter().all(|key| key["lastUse"].is_string()), "{list}");
    let secret = &key["key"].as_str().unwrap()[17..];
    assert!(servers.iter().all(|server| !server.said().contains(secret)));
}

#[test]
fn servers_that_share_a_file_take_and_refuse_the_same_keys() {
    let folder = folder_with("./keys.db", &format!("{ROLES}{COUNT}"));
    let second = Folder::new();
    let store = folder.path().join("keys.db");
    second.write(&config(&format!("[auth.keys]\nstore = \"{}\"\n{ROLES}{COUNT}", store.display())));
    two_nodes([&folder, &second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_database_take_and_refuse_the_same_keys() {
    let database = database().await;
    let rest =
        format!("[connectors.central]\ntype = \"postgres\"\nurl = \"{}\"\n{ROLES}{COUNT}", database.url);
    let folders = [folder_with("postgres:central", &rest), folder_with("postgres:central", &rest)];
    tokio::task::block_in_place(|| two_nodes([&folders[0], &folders[1]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_kept_in_postgresql() {
    let database = database().await;
    let rest = format!(
        "[connectors.central]\ntype = \"postgres\"\nurl = \"{}\"\n{ROLES}{COUNT}\
         [audit]\nsink = \"postgres:central\"\nkey = \"{}\"\nnode = \"web-1\"\n",
        database.url,
        "ab".repeat(32)
    );
    let folder = folder_with("./keys.db", &rest);
    let key = json(&folder, &["create", "ci", "--role", "support"]);
    let mut server = Server::start(&folder);
    assert_eq!(status(server.address, ""), 401);
    assert_eq!(status(server.address, &with(&key)[0]), 200);
    // In strict mode an answer comes after its line.
    let client = database.client().await;
    let count =
        client.value("select count(*) from trunkline.audit where line like '%\"count_customers\"%'").await;
    assert!(count.as_deref() >= Some("1"), "{count:?}");
    server.signal("TERM");
    server.wait();
    let last = client.value("select line from trunkline.audit order by seq desc limit 1").await.unwrap();
    assert!(last.contains(r#""kind":"stop""#), "{last}");
    let id = key["id"].as_str().unwrap();
    let told = client.value(&format!("select count(*) from trunkline.audit where line like '%{id}%'")).await;
    assert_eq!(told.as_deref(), Some("1"));
}
