//! `trunkline demo`: serves the shop, prints a call that works, and leaves nothing behind.

use std::process::Command;

use crate::support::{Server, trunkline};

#[test]
fn the_printed_call_works_and_the_folder_is_gone_afterwards() {
    let room = tempfile::tempdir().unwrap();
    let mut command = trunkline();
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", room.path());
    let mut server = Server::spawn(command);
    let said = server.wait_for(|said| said.contains("claude mcp add").then(|| said.to_owned()));
    let curl: String = said
        .lines()
        .skip_while(|line| !line.starts_with("curl "))
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    let output = Command::new("sh").arg("-c").arg(&curl).output().unwrap();
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(answer["result"]["structuredContent"]["rows"].as_array().unwrap().len(), 3, "{answer}");
    let call = said.lines().find_map(|line| line.strip_prefix("trunkline ")).unwrap();
    let output = trunkline().args(call.split(' ')).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Smith"),
        "{output:?}"
    );
    assert_eq!(std::fs::read_dir(room.path()).unwrap().count(), 1);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(std::fs::read_dir(room.path()).unwrap().count(), 0);
}

#[test]
fn a_taken_port_exits_69() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = trunkline().args(["demo", "--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is taken"), "{output:?}");
}
