//! Any text as a declared statement: no panic, and every offset maps back into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_sql::database::Dialect;
use trunkline_sql::scan::Scanned;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        match Scanned::parse(text, dialect) {
            Ok(scanned) => {
                let rendered = scanned.render();
                for offset in 0..=rendered.len() {
                    assert!(scanned.source_offset(offset) <= text.len());
                }
            }
            Err(error) => assert!(error.offset <= text.len()),
        }
    }
});
