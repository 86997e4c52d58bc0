//! What is left of a record when its process is killed at any moment: in strict mode the line of every answered call.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trunkline_guard::record::sink::file::{Rotation, files};
use trunkline_guard::record::verify::{FindingKind, Report, Verifier};
use trunkline_guard::record::{Audit, AuditKey};
use trunkline_service::Service as _;

use super::support::{Folder, KEY, Tool, audit, lines, recorded, search, start};

/// Tells the process that is killed where its record is.
const RECORD: &str = "TRUNKLINE_TEST_RECORD";
/// How often it is killed.
const KILLS: u64 = 25;

/// Not a test: what the one below starts and kills. It writes the number of each call that was answered to its stdout.
#[test]
#[ignore = "it is started by the test that kills it"]
fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(RECORD).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // Small files, so that it is killed between putting aside and beginning anew as well.
        let audit = Audit { rotation: Rotation { size: 8 * 1024, keep: None }, ..audit(&path) };
        let recorder = start(&audit).await;
        let service = Arc::new(recorded(Tool::ok(), &recorder));
        let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let first = u64::try_from(first).unwrap() << 8;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16 {
            let service = Arc::clone(&service);
            tasks.spawn(async move {
                for number in 0.. {
                    let id = first + task + number * 16;
                    service.call(search(id)).await.unwrap();
                    writeln!(std::io::stdout(), "answered {id:016x}").unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
}

#[test]
fn every_answered_call_has_its_proven_line_after_kill_9_at_any_moment() {
    let folder = Folder::new();
    let mut answered = Vec::new();
    for kill in 0..KILLS {
        // From before the first line to the middle of many.
        answered.extend(run_and_kill(&folder.path(), Duration::from_millis(3 + kill * 13 % 90)));
        let report = verify(&folder.path());
        assert!(report.is_whole(), "kill {kill}: {:#?}", report.problems);
    }
    assert!(answered.len() > 20, "only {} calls were answered", answered.len());
    // One more start closes off what the last kill left.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { start(&folder.audit()).await.stop().await });
    let report = verify(&folder.path());
    assert!(report.is_whole(), "{:#?}", report.problems);
    assert!(report.notes.iter().all(|note| note.kind == FindingKind::Torn), "{:#?}", report.notes);
    let text = lines_of(&folder.path());
    let recorded: HashSet<&str> = text.iter().filter_map(|line| line["request"].as_str()).collect();
    let missing: Vec<_> = answered.iter().filter(|id| !recorded.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {} were answered and have no line", answered.len());
}

/// Starts the process, kills it after a while, and returns what it had answered.
fn run_and_kill(path: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "record::survives::the_process_that_is_killed", "--ignored", "--nocapture"])
        .env(RECORD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let killer = std::thread::spawn(move || {
        pause(after);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let (mut answered, mut line) = (Vec::new(), String::new());
    // The last line may be cut short, and was answered no less.
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(id) = line.strip_prefix("answered ").and_then(|rest| rest.get(..16)) {
            answered.push(id.to_owned());
        }
        line.clear();
    }
    killer.join().unwrap();
    answered
}

#[expect(clippy::disallowed_methods, reason = "the moment of the kill is an amount of time")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

fn verify(path: &Path) -> Report {
    let mut verifier = Verifier::new(AuditKey::new(&KEY), true);
    for file in files(path) {
        let input = BufReader::new(File::open(&file).unwrap());
        verifier.read(&file.display().to_string(), input).unwrap();
    }
    verifier.finish()
}

/// All lines but for those a crash cut short.
fn lines_of(path: &Path) -> Vec<serde_json::Value> {
    let text: String = files(path).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn what_the_recorder_writes_is_proven_through_restarts_and_rotations() {
    let folder = Folder::new();
    let audit = Audit { rotation: Rotation { size: 4000, keep: None }, ..folder.audit() };
    for run in 0..3 {
        let recorder = start(&audit).await;
        let service = recorded(Tool::ok(), &recorder);
        for number in 0..20 {
            service.call(search(run * 100 + number)).await.unwrap();
        }
        recorder.stop().await;
    }
    let report = verify(&folder.path());
    assert!(report.is_whole() && report.notes.is_empty(), "{report:#?}");
    assert_eq!(report.lines, 3 * 22 + files(&folder.path()).len() as u64 - 1);
    assert!(report.nodes[0].is_stopped);
    assert_eq!(lines(&folder.path()).len() as u64, report.lines);
}

/// Not a proof, a number: run it with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn how_many_strict_calls_a_second() {
    let folder = Folder::new();
    let recorder = start(&folder.audit()).await;
    let service = Arc::new(recorded(Tool::ok(), &recorder));
    let started = std::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..256_u64 {
        let service = Arc::clone(&service);
        tasks.spawn(async move {
            for number in 0..200 {
                service.call(search(task * 1000 + number)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let took = started.elapsed().as_secs_f64();
    println!("{:.0} strict calls a second", 256.0 * 200.0 / took);
    recorder.stop().await;
}
