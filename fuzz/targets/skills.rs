//! Any text in the frontmatter of a `SKILL.md`: no panic, and a skill that is taken is taken again as the same.
#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use trunkline_server::sdk::skills::Skills;

thread_local! {
    static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() };
}

fuzz_target!(|text: &str| {
    let root = FOLDER.with(|folder| {
        folder
            .get_or_init(|| {
                // In memory where that is possible: there is a file for each run.
                let memory = PathBuf::from("/dev/shm");
                let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
                let root = parent.join(format!("trunkline-fuzz-skills-{}", std::process::id()));
                fs::create_dir_all(root.join("s")).expect("a folder can be made");
                root
            })
            .clone()
    });
    // Half of them begin as they must: the parts behind are worth reaching.
    let text = match text.strip_prefix('+') {
        Some(rest) => format!("---\nname: s\ndescription: d\n{rest}\n---\n"),
        None => text.to_owned(),
    };
    fs::write(root.join("s/SKILL.md"), &text).expect("the file can be written");
    match Skills::from_folder(&root) {
        Ok(skills) => {
            assert_eq!(skills.uris(), ["skill://s/SKILL.md"]);
            assert!(skills.reload().expect("what was taken is taken again").is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
