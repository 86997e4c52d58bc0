//! Plays the dialogues of `transcripts/` against the real program, over its pipes or HTTP, and compares what it says with what is there.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo nextest run -p trunkline-example-everything --test transcripts` writes the server's side anew;
//! `transcripts/README.md` says how to read and write these files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends at its first fault")]

mod check;
mod exchange;
mod http;
mod pattern;
mod player;
mod script;
mod show;

use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use http::HttpPlayer;
use player::Player;
use script::Script;
use trunkline_testkit::spec::Spec;

/// The folder of all transcripts.
fn transcripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts")
}

#[test]
fn the_dialogues_of_2026_07_28_go_as_written() {
    play_all("2026-07-28");
}

#[test]
fn the_dialogues_of_2025_11_25_go_as_written() {
    play_all("2025-11-25");
}

#[test]
fn the_dialogues_of_2025_06_18_go_as_written() {
    play_all("2025-06-18");
}

#[test]
fn the_dialogues_of_2025_03_26_go_as_written() {
    play_all("2025-03-26");
}

/// Plays each file of one revision in a thread and with a server of its own, and shows the faults of all.
fn play_all(revision: &str) {
    let mut files: Vec<PathBuf> = fs::read_dir(transcripts().join(revision))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{revision} has only {files:?}");
    let faults: Vec<String> = if update() {
        // One after the other: what is written must not depend on how busy the machine is.
        files.iter().flat_map(|path| play(revision, path)).collect()
    } else {
        thread::scope(|scope| {
            let plays: Vec<_> = files.iter().map(|path| scope.spawn(|| play(revision, path))).collect();
            plays.into_iter().flat_map(|played| played.join().unwrap()).collect()
        })
    };
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Whether the server's side is to be written anew.
fn update() -> bool {
    env::var_os("UPDATE_TRANSCRIPTS").is_some()
}

fn play(revision: &str, path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut script = Script::parse(&text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    let spec = Spec::find();
    let over_http = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("http-"));
    let faults = if over_http {
        HttpPlayer::start(&script.arguments, revision, spec.as_ref()).play(&mut script, update())
    } else {
        Player::start(&script.arguments, revision, spec.as_ref()).play(&mut script, update())
    };
    // A dialogue that broke off would leave half a file.
    if update() && faults.is_empty() {
        fs::write(path, script.to_string()).unwrap();
    }
    let name = format!("{revision}/{}", path.file_name().unwrap_or_default().display());
    faults.into_iter().map(|fault| format!("{name}: {fault}")).collect()
}
