//! `trunkline cache purge`, against a server that keeps answers.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{COUNT, Folder, Server, call, config, http};

const KEPT: &str = "cache = { ttl = \"10m\", tags = [\"customers\"] }\n";

fn status(answer: &Value) -> String {
    answer["result"]["_meta"]["io.trunkline/cache"]["status"].as_str().unwrap_or("none").to_owned()
}

fn file(token: &str) -> String {
    config(&format!("{COUNT}{KEPT}")).replacen("[admin]\n", &format!("[admin]\n{token}"), 1)
}

#[test]
fn what_is_kept_goes_when_somebody_with_the_token_says_so() {
    let folder = Folder::new();
    folder.write(&file("token = \"only-for-tests\"\n"));
    let server = Server::start(&folder);
    let ask = || status(&call(server.address, "count_customers", &json!({})));
    assert_eq!((ask(), ask()), ("miss".into(), "hit".into()));
    for what in [
        &["--tag", "customers"][..],
        &["--tool", "count_customers"],
        &["--connector", "shop"],
        &["--all", "--output", "json"],
    ] {
        let done = folder.run(&[&["cache", "purge"][..], what].concat());
        assert!(done.status.success(), "{what:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!((ask(), ask()), ("miss".into(), "hit".into()), "{what:?}");
    }
    let unknown = folder.run(&["cache", "purge", "--tag", "custmers"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{said}");
    assert!(said.contains("did you mean `customers`?"), "{said}");
    assert_eq!(folder.run(&["cache", "purge"]).status.code(), Some(2));
    assert_eq!(folder.run(&["cache", "purge", "--all", "--tag", "a"]).status.code(), Some(2));
    // Somebody with another token.
    let text = std::fs::read_to_string(folder.config()).unwrap();
    let other = Folder::new();
    other.write(&text.replace("only-for-tests", "of-somebody-else"));
    assert_eq!(other.run(&["cache", "purge", "--all"]).status.code(), Some(77));
    assert_eq!(ask(), "hit");
    assert!(!server.said().contains("only-for-tests"));
}

#[test]
fn without_a_token_nobody_may_and_without_a_server_nobody_answers() {
    let folder = Folder::new();
    folder.write(&file(""));
    let refused = folder.run(&["cache", "purge", "--all"]);
    assert_eq!(refused.status.code(), Some(78), "{}", String::from_utf8_lossy(&refused.stderr));
    folder.write(&file("token = \"only-for-tests\"\n"));
    let silent = folder.run(&["cache", "purge", "--all"]);
    assert_eq!(silent.status.code(), Some(69), "{}", String::from_utf8_lossy(&silent.stderr));
}

#[test]
fn check_tells_what_cannot_be_kept() {
    let folder = Folder::new();
    let tool = |cache: &str| {
        format!(
            "[tools.find]\nconnector = \"shop\"\nsql = \"select name from customers where id = :id\"\nparams.id = {{ type = \"integer\" }}\ncache = {cache}\n"
        )
    };
    for (cache, told) in [
        ("{ tags = [\"a\"] }", "`ttl` is missing"),
        ("{ ttl = \"1m\", warm = [{ id = \"x\" }] }", "call 1 of `warm` does not fit the tool"),
        ("true", "false"),
    ] {
        folder.write(&config(&tool(cache)));
        let checked = folder.run(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(78), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn bodies_that_never_come_keep_nobody_from_the_admin_pages() {
    let folder = Folder::new();
    let text = file("token = \"only-for-tests\"\n");
    folder.write(&text);
    let _server = Server::start(&folder);
    let admin = text.split_once("[admin]").and_then(|(_, rest)| rest.split('"').nth(3)).unwrap();
    let admin: SocketAddr = admin.parse().unwrap();
    let head = format!("POST /cache/purge HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 100\r\n\r\n");
    let held: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let began = Instant::now();
    let (status, body) = http(admin, "GET /livez", "", "");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(held);
}
