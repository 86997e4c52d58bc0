//! Lines in real files: strict order, restarts, rotation, and files that go away.

use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_guard::record::sink::file::{FileSink, Rotation, files};
use trunkline_guard::record::verify::Verifier;
use trunkline_guard::record::{AuditKey, Fsync, Mode, OnFailure, Recorder};
use trunkline_service::{Decided, Failure, FailureKind, Request, Service as _};

use super::support::{Folder, KEY, Tool, eventually, recorded, search, start};

#[tokio::test]
async fn a_strict_answer_comes_after_its_line() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let service = recorded(Tool::ok(), &recorder);
    service.call(search(0xabc)).await.unwrap();
    // Nothing was waited for: the line is there.
    let lines = folder.lines();
    assert_eq!(lines[0]["kind"], "start");
    let line = &lines[1];
    let expected = json!({
        "seq": 2, "node": "n1", "kind": "call", "at": line["at"], "request": "0000000000000abc",
        "caller": { "subject": "local", "by": "local" },
        "revision": "2026-07-28", "method": "tools/call", "tool": "search", "in": line["in"],
        "args": { "id": "integer", "q": { "string": 3 } },
        "allowed": true, "rule": "roles.support.allow[0]", "outcome": "ok", "us": line["us"], "out": line["out"],
        "mac": line["mac"],
    });
    assert_eq!(line, &expected);
    assert_eq!(recorder.head().seq, 2);
    recorder.stop().await;
    assert_eq!(folder.lines()[2]["kind"], "stop");
}

#[tokio::test]
async fn a_failure_a_dropped_call_and_a_panic_have_their_lines() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let refuse = |request: &Request| {
        let missing_scopes = vec!["a:read".into(), "a:write".into()];
        request.notes().unwrap().decide(Decided {
            allowed: Some(false),
            missing_scopes,
            ..Decided::default()
        });
        Some(Err(Failure::insufficient_scope(vec!["a:read".into(), "a:write".into(), "b".into()])))
    };
    let service = recorded(Tool { outcome: Box::new(refuse) }, &recorder);
    service.call(search(1)).await.unwrap_err();
    let service = recorded(Tool::never(), &recorder);
    let call = service.call(search(2));
    assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
    let service = Arc::new(recorded(Tool { outcome: Box::new(|_| panic!("a test")) }, &recorder));
    let panicked = tokio::task::spawn_blocking(move || drop(service.call(search(3)))).await;
    assert!(panicked.is_err());
    recorder.stop().await;
    let lines = folder.lines();
    assert_eq!(
        (&lines[1]["outcome"], &lines[1]["missing"]),
        (&json!("forbidden"), &json!(["a:read", "a:write"]))
    );
    assert_eq!(
        (&lines[2]["outcome"], &lines[2]["request"]),
        (&json!("cancelled"), &json!("0000000000000002"))
    );
    assert_eq!(lines[3]["outcome"], "panicked");
}

#[tokio::test]
async fn a_fast_line_is_written_within_a_tenth_of_a_second() {
    let folder = Folder::new();
    let audit = folder.audit();
    let recorder = start(&trunkline_guard::record::Audit { mode: Mode::Fast, ..audit }).await;
    let service = recorded(Tool::ok(), &recorder);
    service.call(search(1)).await.unwrap();
    let answered = Instant::now();
    eventually("the line is written", || folder.lines().len() == 2).await;
    // Some room for a machine that is busy with other tests.
    assert!(answered.elapsed() < Duration::from_millis(100 + 150), "{:?}", answered.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_share_a_write_and_each_has_its_line() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let service = Arc::new(recorded(Tool::ok(), &recorder));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32_u64 {
        let service = Arc::clone(&service);
        tasks.spawn(async move {
            for number in 0..50 {
                service.call(search(task * 1000 + number)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    recorder.stop().await;
    let lines = folder.lines();
    assert_eq!(lines.len(), 32 * 50 + 2);
    let mut seen: Vec<_> = lines.iter().filter_map(|line| line["request"].as_str()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 32 * 50);
    assert!(lines.iter().zip(1..).all(|(line, number)| line["seq"] == number));
}

#[tokio::test]
async fn a_restart_goes_on_where_the_record_ended_and_tells_of_a_torn_line() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    recorded(Tool::ok(), &recorder).call(search(1)).await.unwrap();
    recorder.stop().await;
    let mut text = fs::read(folder.path()).unwrap();
    text.extend_from_slice(br#"{"seq":4,"node":"n1","kind":"ca"#);
    fs::write(folder.path(), &text).unwrap();
    let recorder = start(&folder.audit()).await;
    assert_eq!(recorder.head().seq, 4);
    recorder.stop().await;
    let text = fs::read_to_string(folder.path()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().nth(4).unwrap()).unwrap();
    assert_eq!((&line["kind"], &line["seq"]), (&json!("start"), &json!(4)));
    assert_eq!(line["torn"], json!({ "bytes": 31, "lines": 0 }));
}

#[tokio::test]
async fn a_last_line_that_lost_its_line_break_is_a_line_and_the_next_one_begins_behind_it() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    recorded(Tool::ok(), &recorder).call(search(1)).await.unwrap();
    recorder.stop().await;
    let text = fs::read(folder.path()).unwrap();
    fs::write(folder.path(), text.strip_suffix(b"\n").unwrap()).unwrap();
    let recorder = start(&folder.audit()).await;
    assert_eq!(recorder.head().seq, 4);
    // And so while it is being written.
    let text = fs::read(folder.path()).unwrap();
    fs::write(folder.path(), text.strip_suffix(b"\n").unwrap()).unwrap();
    recorded(Tool::ok(), &recorder).call(search(2)).await.unwrap();
    recorder.stop().await;
    let lines = folder.lines();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "call", "stop", "start", "gap", "call", "stop"]);
    assert!(lines.iter().all(|line| line.get("torn").is_none()), "{lines:?}");
    let mut verifier = Verifier::new(AuditKey::new(&KEY), true);
    verifier.read("f", fs::read(folder.path()).unwrap().as_slice()).unwrap();
    let report = verifier.finish();
    assert!(report.is_whole() && report.lines == 7, "{report:?}");
}

#[tokio::test]
async fn a_second_process_a_foreign_file_and_another_key_are_refused() {
    let folder = Folder::new();
    let audit = folder.audit();
    let recorder = start(&audit).await;
    let sink = || Box::new(FileSink::new(folder.path(), audit.rotation));
    let refused = Recorder::start(&audit, sink()).await.unwrap_err().to_string();
    assert!(refused.contains("another process"), "{refused}");
    recorder.stop().await;
    let other = trunkline_guard::record::Audit { key: AuditKey::new(&[8; 32]), ..audit.clone() };
    let refused = Recorder::start(&other, sink()).await.unwrap_err().to_string();
    assert!(refused.contains("`key`"), "{refused}");
    fs::write(folder.path(), "host = 1\nport = 2\n").unwrap();
    let refused = Recorder::start(&audit, sink()).await.unwrap_err().to_string();
    assert!(refused.contains("audit verify"), "{refused}");
    assert_eq!(fs::read_to_string(folder.path()).unwrap(), "host = 1\nport = 2\n");
    let missing = Box::new(FileSink::new(folder.0.path().join("no/audit.jsonl"), audit.rotation));
    let refused = Recorder::start(&audit, missing).await.unwrap_err().to_string();
    assert!(refused.contains("cannot be opened"), "{refused}");
}

#[tokio::test]
async fn a_full_file_is_put_aside_and_only_so_many_stay() {
    let folder = Folder::new();
    let rotation = Rotation { size: 2000, keep: NonZeroUsize::new(2) };
    let audit = trunkline_guard::record::Audit { rotation, fsync: Fsync::Never, ..folder.audit() };
    let recorder = start(&audit).await;
    let service = recorded(Tool::ok(), &recorder);
    for number in 0..40 {
        service.call(search(number)).await.unwrap();
    }
    recorder.stop().await;
    let files = files(&folder.path());
    assert_eq!(files.len(), 3, "{files:?}");
    let lines = folder.lines();
    let first = lines[0]["seq"].as_u64().unwrap();
    assert!(lines.iter().zip(first..).all(|(line, number)| line["seq"] == number));
    let begun: Vec<_> = lines.iter().filter(|line| line["kind"] == "file").collect();
    assert_eq!(begun.last().unwrap()["oldest"], json!({ "node": "n1", "seq": first }));
    assert!(begun.iter().all(|line| line["prev"].as_str().unwrap().len() == 64));
    // After a crash between putting aside and beginning anew, the record goes on too.
    let last = lines.last().unwrap()["seq"].as_u64().unwrap();
    fs::rename(folder.path(), folder.0.path().join("audit.jsonl.000999")).unwrap();
    let recorder = start(&audit).await;
    assert_eq!(recorder.head().seq, last + 1);
    let line = &folder.lines().pop().unwrap();
    assert_eq!((&line["kind"], &line["prev"]), (&json!("start"), &lines.last().unwrap()["mac"]));
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew_without_a_failure() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let service = recorded(Tool::ok(), &recorder);
    service.call(search(1)).await.unwrap();
    let before = folder.lines().pop().unwrap();
    fs::rename(folder.path(), folder.0.path().join("moved")).unwrap();
    service.call(search(2)).await.unwrap();
    let lines = folder.lines();
    assert_eq!((&lines[0]["kind"], &lines[0]["prev"]), (&json!("file"), &before["mac"]));
    assert_eq!(lines[1]["request"], "0000000000000002");
    assert!(recorder.is_working());
}

#[tokio::test]
async fn a_file_that_was_emptied_or_added_to_goes_on_and_shows_it() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let service = recorded(Tool::ok(), &recorder);
    service.call(search(1)).await.unwrap();
    let before = folder.lines().pop().unwrap();
    fs::write(folder.path(), "").unwrap();
    service.call(search(2)).await.unwrap();
    let lines = folder.lines();
    assert_eq!((&lines[0]["kind"], &lines[0]["prev"]), (&json!("file"), &before["mac"]));
    let mut file = fs::OpenOptions::new().append(true).open(folder.path()).unwrap();
    std::io::Write::write_all(&mut file, b"{\"seq\":9}\n").unwrap();
    service.call(search(3)).await.unwrap();
    let text = fs::read_to_string(folder.path()).unwrap();
    let gap: serde_json::Value = serde_json::from_str(text.lines().nth_back(1).unwrap()).unwrap();
    assert_eq!((&gap["kind"], &gap["torn"]), (&json!("gap"), &json!({ "bytes": 9, "lines": 0 })));
    assert!(recorder.is_working());
}

#[tokio::test]
async fn while_the_folder_is_gone_nothing_is_answered_and_then_all_goes_on() {
    let folder = Folder::new();
    let inner = folder.0.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let audit = super::support::audit(&inner.join("audit.jsonl"));
    let recorder = start(&audit).await;
    let service = recorded(Tool::ok(), &recorder);
    service.call(search(1)).await.unwrap();
    fs::remove_dir_all(&inner).unwrap();
    // It ran before anybody could know; its answer does not leave.
    let withheld = service.call(search(2)).await.unwrap_err();
    assert_eq!(withheld.kind(), FailureKind::Internal);
    assert!(withheld.public().contains("record"), "{withheld}");
    let refused = service.call(search(3)).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.retry_after()),
        (FailureKind::Overloaded, Some(Duration::from_secs(1)))
    );
    assert!(!recorder.is_working());
    fs::create_dir(&inner).unwrap();
    eventually("it works again", || recorder.is_working()).await;
    service.call(search(4)).await.unwrap();
    recorder.stop().await;
    let lines = super::support::lines(&inner.join("audit.jsonl"));
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["seq"], &lines[0]["refused"]),
        (&json!("gap"), &json!(3), &json!(1))
    );
    assert_eq!(lines[1]["request"], "0000000000000002");
    assert_eq!(lines[2]["request"], "0000000000000004");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn with_a_full_disk_and_the_rule_to_continue_calls_are_answered_and_counted() {
    let audit = super::support::audit(std::path::Path::new("/dev/full"));
    let run = async |mode| {
        let audit = trunkline_guard::record::Audit { mode, on_failure: OnFailure::Continue, ..audit.clone() };
        let recorder = start(&audit).await;
        eventually("the failure is known", || !recorder.is_working()).await;
        let service = recorded(Tool::ok(), &recorder);
        for number in 0..10 {
            service.call(search(number)).await.unwrap();
        }
        recorder.stop().await;
        let counts = recorder.counts();
        assert!(counts.failures > 0);
        // The line of the end is lost as well.
        assert_eq!((counts.lines, counts.lost), (0, 11));
    };
    tokio::join!(run(Mode::Strict), run(Mode::Fast));
}

#[cfg(unix)]
#[tokio::test]
async fn syslog_gets_each_line_as_one_message_and_a_daemon_that_comes_back_gets_the_rest() {
    use std::os::unix::net::UnixDatagram;
    use trunkline_guard::record::sink::syslog::Syslog;

    let folder = Folder::new();
    let path = folder.0.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    let receive = |daemon: &UnixDatagram| {
        let mut message = vec![0; 65536];
        let length = daemon.recv(&mut message).unwrap();
        message.truncate(length);
        String::from_utf8(message).unwrap()
    };
    let audit = trunkline_guard::record::Audit { on_failure: OnFailure::Continue, ..folder.audit() };
    let recorder = Recorder::start(&audit, Box::new(Syslog::new(path.clone()))).await.unwrap();
    let service = recorded(Tool::ok(), &recorder);
    service.call(search(1)).await.unwrap();
    let (first, second) = (receive(&daemon), receive(&daemon));
    assert!(first.starts_with("<110>1 20") && first.contains(" n1 trunkline "), "{first}");
    let line = second.split_once(" audit - ").unwrap().1;
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["seq"], &line["request"]), (&json!(2), &json!("0000000000000001")));
    drop(daemon);
    fs::remove_file(&path).unwrap();
    service.call(search(2)).await.unwrap();
    assert!(!recorder.is_working());
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    let (gap, kept) = (receive(&daemon), receive(&daemon));
    assert!(gap.contains(r#""seq":3,"node":"n1","kind":"gap""#), "{gap}");
    assert!(kept.contains(r#""request":"0000000000000002""#), "{kept}");
    recorder.stop().await;
}
