//! A sink that fails at any point of a write: nothing that was answered is missing, nothing is there twice, and the chain has no
//! hole.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use trunkline_guard::record::sink::file::{FileSink, Rotation, files};
use trunkline_guard::record::sink::{Batch, Found, Sink, SinkError, WriteError};
use trunkline_guard::record::verify::{FindingKind, Verifier};
use trunkline_guard::record::{Audit, AuditKey, Mode, OnFailure, Prover, Recorder};
use trunkline_service::shared::Later;
use trunkline_service::{FailureKind, Service as _};

use super::support::{Folder, KEY, Tool, recorded, search};

/// A file that fails three times of ten.
struct Faulty {
    file: FileSink,
    path: PathBuf,
    /// The state of a small generator of numbers.
    dice: u64,
}

impl Faulty {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn fails() -> SinkError {
        SinkError::unavailable("it fails")
    }
}

impl Sink for Faulty {
    fn open<'a>(&'a mut self, prover: &'a Prover) -> Later<'a, Result<Found, SinkError>> {
        match self.roll(10) {
            0 => Box::pin(std::future::ready(Err(Self::fails()))),
            _ => self.file.open(prover),
        }
    }

    fn write<'a>(&'a mut self, batch: &'a Batch) -> Later<'a, Result<(), WriteError>> {
        let fault = self.roll(10);
        let part = usize::try_from(self.roll(batch.text().len() as u64)).unwrap();
        Box::pin(async move {
            match fault {
                0 => return Err(Self::fails().into()),
                // All of it is there, and nobody knows.
                1 => self.file.write(batch).await?,
                // Some of it is there.
                2 => {
                    let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
                    // As the file itself does where a line has no end yet.
                    let is_open =
                        std::fs::read(&self.path).unwrap().last().is_some_and(|byte| *byte != b'\n');
                    let text = [if is_open { &b"\n"[..] } else { b"" }, batch.text()].concat();
                    file.write_all(&text[..part]).unwrap();
                }
                _ => return self.file.write(batch).await,
            }
            Err(Self::fails().into())
        })
    }

    fn is_full(&self) -> bool {
        self.file.is_full()
    }

    fn renew(&mut self) -> Later<'_, Result<trunkline_guard::record::sink::Renewed, SinkError>> {
        self.file.renew()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_fails_an_answered_call_has_one_line_and_the_record_is_whole() {
    let mut torn = 0;
    for (seed, mode) in [(1, Mode::Strict), (7, Mode::Strict), (28, Mode::Fast)] {
        let folder = Folder::new();
        let rotation = Rotation { size: 8000, keep: None };
        let audit = Audit { mode, rotation, on_failure: OnFailure::Stop, ..folder.audit() };
        let file = FileSink::new(folder.path(), rotation);
        let sink = Box::new(Faulty { file, path: folder.path(), dice: seed });
        let recorder = Recorder::start(&audit, sink).await.unwrap();
        let answered = call_until_done(&recorder).await;
        // Whatever is still held goes out once it works again.
        super::support::eventually("it works", || recorder.is_working()).await;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        recorder.stop().await;
        assert_eq!(recorder.counts().lost, 0);

        let mut verifier = Verifier::new(AuditKey::new(&KEY), true);
        for file in files(&folder.path()) {
            verifier.read(&file.display().to_string(), BufReader::new(File::open(file).unwrap())).unwrap();
        }
        let report = verifier.finish();
        assert!(report.is_whole(), "seed {seed}: {:#?}", report.problems);
        torn += report.notes.iter().filter(|note| note.kind == FindingKind::Torn).count();
        let text: String =
            files(&folder.path()).iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let mut lines = HashMap::<String, u32>::new();
        for line in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            if let Some(id) = line["request"].as_str() {
                *lines.entry(id.to_owned()).or_default() += 1;
            }
        }
        assert!(lines.values().all(|count| *count == 1), "a line is there twice");
        for id in answered {
            assert!(
                lines.contains_key(&format!("{id:016x}")),
                "seed {seed}: {id:x} was answered and has no line"
            );
        }
    }
    assert!(torn > 0, "no write was cut short");
}

/// Makes calls from several callers, as long as it takes; the numbers of those that were answered.
async fn call_until_done(recorder: &Recorder) -> Vec<u64> {
    let service = Arc::new(recorded(Tool::ok(), recorder));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_u64 {
        let service = Arc::clone(&service);
        tasks.spawn(async move {
            let mut answered = Vec::new();
            for number in 0..30 {
                let id = task << 32 | number;
                match service.call(search(id)).await {
                    Ok(_) => answered.push(id),
                    Err(failure) if failure.kind() == FailureKind::Overloaded => {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                    Err(failure) => assert_eq!(failure.kind(), FailureKind::Internal),
                }
            }
            answered
        });
    }
    tasks.join_all().await.concat()
}
