//! `trunkline secret rotate`: a new key, and every `${sealed:...}` of the config file sealed for it.
//!
//! Three steps, each of which replaces a file at once, so that the config file can be opened after any of them: the new key joins
//! the old ones, the config file is sealed anew, the old keys go. Comments and everything else of the file stay to the byte.

use std::ops::Range;

use serde_json::json;
use trunkline_guard::redact::age::{self, Identity, Recipient};

use super::{Common, new_key, not_opened, sealed, unusable};
use crate::commands::Output;
use crate::exit::{Code, Failed};
use crate::{config, identity, output};

pub(super) fn run(args: &Common, keep_old: bool) -> anyhow::Result<()> {
    let keys = args.identity();
    let old_text = identity::text(&keys).map_err(unusable)?;
    let old = identity::read(&keys).map_err(unusable)?;
    let text = config::read(&args.config)?;
    let new = new_key()?;
    let (anew, count) = resealed(&text, &old, new.recipient())?;
    let entry = identity::entry(&new);
    let write = |path: &std::path::Path, text: &str| {
        identity::replace(path, text).map_err(|error| {
            Failed::new(Code::Unavailable, format!("`{}` cannot be written: {error}", path.display()))
        })
    };
    write(&keys, &format!("{entry}{old_text}"))?;
    if count > 0 {
        write(&args.config, &anew)?;
    }
    if !keep_old {
        write(&keys, &entry)?;
    }
    let recipient = new.recipient().to_string();
    if args.output == Output::Json {
        output::result(
            &json!({ "recipient": recipient, "resealed": count, "identity": keys.display().to_string() })
                .to_string(),
        );
        return Ok(());
    }
    let kept = if keep_old { "; the old key is there too" } else { "" };
    output::line(&format!(
        "{} of `{}` sealed for a new key, which is in `{}`{kept}; its recipient:",
        output::count(count, "secret"),
        args.config.display(),
        keys.display()
    ));
    output::result(&recipient);
    Ok(())
}

/// Seals every reference of the text anew; nothing of what was sealed is kept longer than that takes.
fn resealed(text: &str, old: &[Identity], new: Recipient) -> anyhow::Result<(String, usize)> {
    let mut out = String::with_capacity(text.len());
    let (mut at, mut count) = (0, 0);
    for range in references(text) {
        let written = text.get(range.clone()).unwrap_or_default();
        let secret = match age::open(written.as_bytes(), old) {
            Ok(secret) => secret,
            // What is commented out is of no use, and may be older than these keys.
            Err(_) if is_comment(text, range.start) => continue,
            Err(error) => {
                let line = text.get(..range.start).unwrap_or_default().lines().count().max(1);
                return Err(not_opened(error).context(format!(
                    "the sealed secret on line {line} cannot be opened, and nothing was changed"
                )));
            }
        };
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(&sealed(&[new], &secret)?);
        at = range.end;
        count += 1;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Ok((out, count))
}

/// Returns where the sealed text of each reference stands. `$${sealed:` is none.
fn references(text: &str) -> Vec<Range<usize>> {
    const BEGIN: &str = "${sealed:";
    let found = text.match_indices(BEGIN).filter_map(|(at, _)| {
        let dollars = text.get(..at)?.bytes().rev().take_while(|byte| *byte == b'$').count();
        let start = at + BEGIN.len();
        let end = start + text.get(start..)?.find('}')?;
        (dollars == 0).then_some(start..end)
    });
    found.collect()
}

fn is_comment(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use trunkline_guard::redact::age::Sealing;

    use super::*;

    fn seal(secret: &str, key: &Identity) -> String {
        Sealing::new(&[key.recipient()]).unwrap().seal_line(secret.as_bytes()).unwrap()
    }

    #[test]
    fn every_reference_is_sealed_anew_and_the_rest_stays_to_the_byte() {
        let (old, new, other) =
            (Identity::random().unwrap(), Identity::random().unwrap(), Identity::random().unwrap());
        let file = |one: &str, two: &str, lost: &str| {
            format!(
                "# keep\r\n[a]\nx = \"p-${{sealed:{one}}}-s\" # why\ny = '$${{sealed:{one}}}'\n  # z = \"${{sealed:{lost}}}\"\nq = [\"${{sealed:{two}}}\"]"
            )
        };
        let (one, two, lost) = (seal("hunter2", &old), seal("é\n", &old), seal("x", &other));
        let before = file(&one, &two, &lost);
        let (after, count) = resealed(&before, std::slice::from_ref(&old), new.recipient()).unwrap();
        assert_eq!(count, 2);
        let found: Vec<&str> = references(&after).into_iter().map(|range| &after[range]).collect();
        let open = |text: &str| age::open(text.as_bytes(), std::slice::from_ref(&new)).unwrap();
        assert_eq!((open(found[0]), open(found[2])), (b"hunter2".to_vec(), "é\n".as_bytes().to_vec()));
        assert_eq!(found[1], lost);
        assert_eq!(after.replace(found[0], &one).replace(found[2], &two), before);
        let failed =
            resealed(&format!("\n\nx = \"${{sealed:{lost}}}\""), &[old], new.recipient()).unwrap_err();
        assert!(
            format!("{failed:#}").contains("line 2") || format!("{failed:#}").contains("line 3"),
            "{failed:#}"
        );
    }
}
