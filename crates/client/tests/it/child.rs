//! Servers as shell scripts on pipes: the era, ends of every kind, and noise.

#![cfg(unix)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use trunkline_client::{ChildStderr, Client, ClientError, ConnectOptions, Era, Kind, Target};

use crate::peer::{DISCOVERED, INITIALIZED};

/// A script that answers by the `case` arms given; `$id` is the request's id, `reply RESULT` and `fail CODE DATA` answer.
fn script(arms: &str) -> Target {
    let text = format!(
        r#"reply() {{ printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$1"; }}
fail() {{ printf '{{"jsonrpc":"2.0","id":%s,"error":{{"code":%s,"message":"no","data":%s}}}}\n' "$id" "$1" "$2"; }}
initialized='{INITIALIZED}'
discovered='{DISCOVERED}'
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/^{{"jsonrpc":"2.0","id":\([0-9]*\).*/\1/p')
  case "$line" in
{arms}
  esac
done
"#
    );
    let argv = ["sh", "-c", text.as_str()].map(OsString::from).to_vec();
    Target::Command { argv, stderr: ChildStderr::Keep }
}

fn quick() -> ConnectOptions {
    ConnectOptions {
        probe_wait: Duration::from_millis(300),
        timeout: Duration::from_secs(20),
        ..ConnectOptions::default()
    }
}

fn no_arguments() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap()
}

const LEGACY_ARMS: &str = r#"
    *'"initialize"'*) reply "$initialized";;
    *tools/list*) reply '{"tools":[]}';;"#;

#[tokio::test]
async fn cl_05_what_is_not_modern_gets_the_handshake() {
    for opening in [
        "fail -32601 null",
        "fail -32602 null",
        "fail -32000 null",
        "fail 0 '\"x\"'",
        "reply '{}'",
        ":",
        "echo oops",
    ] {
        let target = script(&format!("*server/discover*) {opening};;{LEGACY_ARMS}"));
        let started = Instant::now();
        let client =
            Client::connect(target, quick()).await.unwrap_or_else(|error| panic!("{opening}: {error}"));
        assert_eq!(client.era(), Era::Legacy, "{opening}");
        assert!(started.elapsed() < Duration::from_secs(10), "{opening}");
        client.tools().await.unwrap();
        client.close().await;
    }
}

#[tokio::test]
async fn cl_05_an_unsupported_version_never_leads_to_the_handshake() {
    let arms = r#"*server/discover*) fail -32022 '{"supported":["2026-07-28"],"requested":"x"}';;
        *'"initialize"'*) exit 9;;
        *tools/list*) reply '{"tools":[]}';;"#;
    let client = Client::connect(script(arms), quick()).await.unwrap();
    assert_eq!(client.era(), Era::Modern);
    client.tools().await.unwrap();

    let arms =
        r#"*server/discover*) fail -32022 '{"supported":["2030-01-01"]}';; *'"initialize"'*) exit 9;;"#;
    let error = Client::connect(script(arms), quick()).await.unwrap_err();
    assert!(matches!(error, ClientError::NoCommonVersion { .. }), "{error}");
}

#[tokio::test]
async fn cl_05_a_modern_server_that_is_slow_to_start_stays_modern() {
    for initialize in [":", "fail -32601 null"] {
        let arms = format!(
            r#"*server/discover*) sleep 1; reply "$discovered";; *'"initialize"'*) {initialize};; *tools/list*) reply '{{"tools":[]}}';;"#
        );
        let client = Client::connect(script(&arms), quick()).await.unwrap();
        assert_eq!(client.era(), Era::Modern);
        client.tools().await.unwrap();
    }
}

#[tokio::test]
async fn cl_03_an_answer_with_another_id_is_passed_over() {
    let arms = r#"*server/discover*) reply "$discovered";;
        *tools/call*) echo "{\"id\":\"$id\",\"result\":{\"wrong\":1}}"; echo '{"id":777,"result":{}}'; echo '{"result":{}}'; reply '{"content":[],"right":1.0}';;"#;
    let client = Client::connect(script(arms), quick()).await.unwrap();
    let outcome = client.call("t", &no_arguments()).await.unwrap();
    assert_eq!(outcome.result.get(), r#"{"content":[],"right":1.0}"#);
}

/// Waits until the process of that number is gone, zombie or not.
async fn wait_gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Path::new("/proc").join(pid).exists() {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn cl_02_calls_fail_at_once_when_the_server_dies() {
    for (end, expected, code) in [
        ("echo why >&2; exit 1", "ended (exit status: 1)", Some(1)),
        ("kill -9 $$", "ended (signal: 9 (SIGKILL))", None),
        ("exec >&-; sleep 60", "closed its output", None),
        ("exec <&- ; exec sleep 0.05", "ended (exit status: 0)", Some(0)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let mut arms = format!("*server/discover*) echo $$ > '{}'; reply \"$discovered\";;\n", pid.display());
        write!(arms, "*tools/call*) case \"$line\" in *second*) {end};; esac;;").unwrap();
        let client = Client::connect(script(&arms), quick()).await.unwrap();
        let started = Instant::now();
        let arguments = no_arguments();
        let (first, second) =
            tokio::join!(client.call("first", &arguments), client.call("second", &arguments));
        assert!(started.elapsed() < Duration::from_secs(1), "{end}: {:?}", started.elapsed());
        for error in [first.unwrap_err(), second.unwrap_err()] {
            assert!(matches!(error, ClientError::Ended { .. }), "{end}: {error}");
            assert!(error.to_string().contains(expected), "{end}: {error}");
            assert_eq!((error.kind(), error.child_exit_code()), (Kind::Unavailable, code), "{end}");
            assert_eq!(error.child_stderr().contains("why"), end.contains("why"), "{end}");
        }
        let later = client.call("first", &no_arguments()).await.unwrap_err();
        assert!(matches!(later, ClientError::Ended { .. }), "{later}");
        wait_gone(std::fs::read_to_string(&pid).unwrap().trim()).await;
    }
}

#[tokio::test]
async fn cl_02_a_program_that_ends_or_is_missing_before_the_probe_is_told_at_once() {
    let argv = ["sh", "-c", "echo 'bad config' >&2; exit 78"].map(OsString::from).to_vec();
    let started = Instant::now();
    let error =
        Client::connect(Target::Command { argv, stderr: ChildStderr::Keep }, ConnectOptions::default())
            .await
            .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!((error.child_exit_code(), error.child_stderr()), (Some(78), "bad config\n"));

    let argv = vec![OsString::from("/nonexistent/program")];
    let error =
        Client::connect(Target::Command { argv, stderr: ChildStderr::Inherit }, ConnectOptions::default())
            .await
            .unwrap_err();
    assert!(
        matches!(error, ClientError::Spawn { .. }) && error.to_string().contains("/nonexistent/program"),
        "{error}"
    );
}

#[tokio::test]
async fn cl_06_noise_is_ignored_kept_and_never_answered() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("received");
    let arms = format!(
        r#"*server/discover*) printf '%s\n' "$line" >> '{log}'; echo 'Loading...'; reply "$discovered";;
        *tools/call*) printf '%s\n' "$line" >> '{log}'; echo '{{"level":"info"}}'; head -c 1048576 /dev/zero | tr '\0' x; echo; reply '{{"content":[]}}';;
        *) printf '%s\n' "$line" >> '{log}';;"#,
        log = log.display()
    );
    let client = Client::connect(script(&arms), quick()).await.unwrap();
    for _ in 0..3 {
        client.call("t", &no_arguments()).await.unwrap();
    }
    let noise = client.noise();
    assert_eq!(noise.len(), 7);
    assert_eq!(noise[0], "Loading...");
    assert!(noise.iter().all(|line| line.chars().count() <= 203), "shortened");
    client.close().await;
    let received = std::fs::read_to_string(log).unwrap();
    assert_eq!(received.lines().count(), 4);
    for line in received.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        assert!(message["method"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn a_handshake_era_child_may_ask_and_is_answered() {
    let arms = r#"*server/discover*) fail -32601 null;;
        *'"initialize"'*) reply "$initialized";;
        *tools/call*) echo '{"jsonrpc":"2.0","id":"q","method":"ping"}'; read -r pong; reply "{\"content\":[],\"pong\":$pong}";;"#;
    let client = Client::connect(script(arms), quick()).await.unwrap();
    let outcome = client.call("t", &no_arguments()).await.unwrap();
    assert_eq!(outcome.result.get(), r#"{"content":[],"pong":{"jsonrpc":"2.0","id":"q","result":{}}}"#);
}

#[tokio::test]
async fn a_late_call_is_cancelled_and_line_breaks_do_not_split_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("received");
    let arms = format!(
        r#"*server/discover*) reply "$discovered";;
        *slow*) ;;
        *cancelled*) printf '%s\n' "$line" > '{log}';;
        *tools/call*) reply '{{"content":[]}}';;"#,
        log = log.display()
    );
    let options = ConnectOptions { timeout: Duration::from_millis(500), ..quick() };
    let client = Client::connect(script(&arms), options).await.unwrap();
    let spread = RawValue::from_string("{\n\"a\":\r\n1 }".to_owned()).unwrap();
    client.call("quick", &spread).await.unwrap();
    let error = client.call("slow", &no_arguments()).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    client.call("quick", &no_arguments()).await.unwrap();
    client.close().await;
    let cancelled: Value = serde_json::from_str(&std::fs::read_to_string(log).unwrap()).unwrap();
    assert_eq!(cancelled["params"]["requestId"], 3);
}

#[tokio::test]
async fn an_answer_beyond_the_limit_ends_the_child() {
    let arms = r#"*server/discover*) reply "$discovered";;
        *tools/call*) head -c 100000 /dev/zero | tr '\0' x;;"#;
    let client =
        Client::connect(script(arms), ConnectOptions { max_answer: 10_000, ..quick() }).await.unwrap();
    let error = client.call("t", &no_arguments()).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn closing_lets_the_child_finish_and_stops_one_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let text = format!(
        "echo '{{\"id\":1,\"result\":{DISCOVERED}}}'; cat >/dev/null; echo done > '{}'",
        done.display()
    );
    let argv = ["sh", "-c", text.as_str()].map(OsString::from).to_vec();
    let client = Client::connect(Target::Command { argv, stderr: ChildStderr::Keep }, quick()).await.unwrap();
    client.close().await;
    assert_eq!(std::fs::read_to_string(&done).unwrap(), "done\n");

    let pid = folder.path().join("pid");
    let text =
        format!("echo $$ > '{}'; echo '{{\"id\":1,\"result\":{DISCOVERED}}}'; exec sleep 60", pid.display());
    let argv = ["sh", "-c", text.as_str()].map(OsString::from).to_vec();
    let client = Client::connect(Target::Command { argv, stderr: ChildStderr::Keep }, quick()).await.unwrap();
    let started = Instant::now();
    client.close().await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    wait_gone(std::fs::read_to_string(&pid).unwrap().trim()).await;
}
