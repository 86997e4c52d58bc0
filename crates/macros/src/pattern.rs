//! Looks at a regular expression as far as can be told without compiling it: what opens closes, what repeats follows something.

/// Returns what is wrong with a pattern.
pub(crate) fn mistake(pattern: &str) -> Option<&'static str> {
    let mut open_groups = 0_u32;
    let mut repeatable = false;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                if letters.next().is_none() {
                    return Some("it ends in a `\\` that escapes nothing");
                }
                repeatable = true;
            }
            '[' => {
                if !skip_class(&mut letters) {
                    return Some("a `[` has no `]`; write `\\\\[` for the character itself");
                }
                repeatable = true;
            }
            '(' => {
                open_groups += 1;
                // The `?` of `(?:`, `(?=` and the like repeats nothing.
                letters.next_if_eq(&'?');
                repeatable = false;
            }
            ')' if open_groups == 0 => {
                return Some("a `)` has no `(`; write `\\\\)` for the character itself");
            }
            ')' => {
                open_groups -= 1;
                repeatable = true;
            }
            '*' | '+' | '?' if !repeatable => return Some("`*`, `+` or `?` has nothing before it to repeat"),
            '*' | '+' | '?' => {
                // A second `?` means "as few as possible".
                letters.next_if_eq(&'?');
                repeatable = false;
            }
            '|' | '^' => repeatable = false,
            _ => repeatable = true,
        }
    }
    (open_groups > 0).then_some("a `(` has no `)`; write `\\\\(` for the character itself")
}

/// Goes past the end of a class `[..]`; returns `false` when it has none.
fn skip_class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            ']' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_patterns_pass() {
        for good in [
            "^[a-z]{2,3}$",
            r"\d+(-\d+)?",
            "(?:a|b)*?",
            "(?=x)y",
            r"\(\[",
            "[^)(*]+",
            "",
            "a||b",
            "x*$",
            r"[\]]",
            "(?<n>a)",
        ] {
            assert_eq!(mistake(good), None, "{good}");
        }
    }

    #[test]
    fn bad_patterns_are_told() {
        for bad in ["[a-z", "(a", "a)", "a\\", "*a", "(+)", "a|*", "a**", r"[\]"] {
            assert!(mistake(bad).is_some(), "{bad}");
        }
    }
}
