//! `trunkline tools` and `trunkline call` as a person runs them: targets, arguments, what is printed and exit codes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn trunkline(folder: &Path, words: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A folder with a database of three rows and a config file with one tool on it.
fn shop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database
        .execute_batch("create table item (id integer primary key, name text not null) strict; insert into item values (1, 'cup'), (2, '@pot'), (3, 'pan');")
        .unwrap();
    let config = r#"
[connectors.shop]
type = "sqlite"
path = "./shop.db"

[tools.items]
connector = "shop"
description = "Lists items"
sql = "select id, name from item where name = :name or id <= :most order by id"
params.name = { type = "string", default = "" }
params.most = { type = "integer", default = 0, maximum = 10 }
"#;
    std::fs::write(folder.path().join("trunkline.toml"), config).unwrap();
    folder
}

#[test]
fn a_config_file_is_a_target() {
    let shop = shop();
    let run = |words: &[&str]| trunkline(shop.path(), words, "");
    let (code, out, _) = run(&["tools", "trunkline.toml"]);
    assert_eq!(code, 0);
    assert!(out.contains("items") && out.contains("most?: integer") && out.contains("Lists items"), "{out}");
    let (code, out, _) = run(&["tools", "trunkline.toml", "--output", "json"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &listed["tools"][0]["name"]), (0, &Value::from("items")));
    let (code, out, _) = run(&["call", "trunkline.toml", "items", "most=2"]);
    assert_eq!((code, out.as_str()), (0, " id | name\n----+------\n 1  | cup\n 2  | @pot\n(2 rows)\n"));
    let (code, out, _) = run(&["call", "trunkline.toml", "items", "most=1", "--output", "json"]);
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &result["structuredContent"]["rows"][0]["name"]), (0, &Value::from("cup")));
}

#[test]
fn a_command_comes_last_and_values_are_read() {
    let shop = shop();
    std::fs::write(shop.path().join("name"), "cup\n").unwrap();
    let program = env!("CARGO_BIN_EXE_trunkline");
    for (value, input, expected) in
        [("name=@name", "", "cup"), ("name=@-", "pan\n", "pan"), ("name=@@pot", "", "@pot")]
    {
        let words = ["call", "items", value, "--", program, "serve", "--stdio", "-c", "trunkline.toml"];
        let (code, out, err) = trunkline(shop.path(), &words, input);
        assert!(code == 0 && out.contains(expected) && out.ends_with("(1 row)\n"), "{value}: {out}{err}");
    }
    let (code, out, _) =
        trunkline(shop.path(), &["call", "trunkline.toml", "items", "--json", "@-"], "{\"most\": 3}");
    assert!(code == 0 && out.ends_with("(3 rows)\n"), "{out}");
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let shop = shop();
    std::fs::write(shop.path().join("bad.toml"), "[server]\nnmae = 1\n").unwrap();
    let table: [(i32, &[&str], &str); 15] = [
        (1, &["call", "trunkline.toml", "items", "most=11"], "most"),
        (1, &["call", "trunkline.toml", "items", "mots=1"], "did you mean `most`?"),
        (1, &["call", "trunkline.toml", "items", "colour=1"], "`name`"),
        (2, &["tools"], "-- COMMAND"),
        (2, &["tools", "localhost:3000/mcp"], "begins with `http://`"),
        (2, &["tools", "trunkline.toml", "extra"], "extra"),
        (2, &["call", "trunkline.toml"], "name the tool"),
        (2, &["call", "trunkline.toml", "items", "most"], "name=value"),
        (2, &["call", "trunkline.toml", "items", "most=1", "--json", "{}"], "not both"),
        (2, &["call", "trunkline.toml", "items", "--json", "[]"], "JSON object"),
        (2, &["tools", "http://127.0.0.1:9/", "--header", "Mcp-Method: x"], "by itself"),
        (69, &["tools", "--", "false"], "exit status: 1"),
        (76, &["call", "trunkline.toml", "nope"], "-32602"),
        (78, &["tools", "bad.toml"], "nmae"),
        (78, &["tools", "missing.toml"], "missing.toml"),
    ];
    for (code, words, expected) in table {
        let (found, out, err) = trunkline(shop.path(), words, "");
        assert_eq!((found, out.as_str()), (code, ""), "{words:?}: {err}");
        assert!(err.contains(expected), "{words:?}: {err}");
    }
}

#[test]
fn refusals_over_http_have_their_exit_codes_and_headers_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "Bearer very-secret\n").unwrap();
    for (status, code) in [
        ("401 Unauthorized", 77),
        ("403 Forbidden", 77),
        ("429 Too Many Requests", 69),
        ("500 Internal Server Error", 69),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = vec![0; 64 * 1024];
            let read = stream.read(&mut head).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            String::from_utf8_lossy(&head[..read]).to_ascii_lowercase()
        });
        let (found, _, err) =
            trunkline(folder.path(), &["tools", &url, "--header", "Authorization: @token"], "");
        assert_eq!(found, code, "{status}: {err}");
        assert!(err.contains(&status[..3]) && !err.contains("secret"), "{err}");
        assert!(server.join().unwrap().contains("authorization: bearer very-secret\r\n"));
    }
}

#[test]
fn a_program_that_does_not_answer_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["tools", "--timeout", "500ms", "--", "sleep", "60"][..],
        &["call", "--timeout", "500ms", "x", "--", "sleep", "60"],
    ] {
        let started = std::time::Instant::now();
        let (code, out, err) = trunkline(folder.path(), words, "");
        assert_eq!((code, out.as_str()), (69, ""), "{err}");
        assert!(err.contains("within 0.5 s") && err.contains("`--timeout`"), "{err}");
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    }
    let (code, _, err) = trunkline(folder.path(), &["tools", "--timeout", "soon", "--", "sleep", "60"], "");
    assert!(code == 2 && err.contains("5s"), "{err}");
}
