//! Globs: a text in which `*` stands for any characters, `/` among them. Matched in time linear in both texts.

/// A glob, taken apart at its stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    text: Box<str>,
    /// What stands between the stars; one piece when there is no star.
    pieces: Box<[Box<str>]>,
}

impl Glob {
    /// Reads a glob; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        let pieces = text.split('*').map(Into::into);
        Self { text: text.into(), pieces: pieces.collect() }
    }

    /// Returns the glob as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the whole of `text` is an instance.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return text.is_empty() };
        let Some((last, between)) = rest.split_last() else { return text == &**first };
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in between {
            let Some(at) = rest.find(&**piece) else { return false };
            rest = rest.get(at + piece.len()..).unwrap_or_default();
        }
        rest.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, as slow as it is plain.
    fn slow(glob: &str, text: &str) -> bool {
        match glob.chars().next() {
            None => text.is_empty(),
            Some('*') => {
                let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                ends.into_iter().any(|at| slow(&glob[1..], &text[at..]))
            }
            Some(letter) => {
                text.strip_prefix(letter).is_some_and(|rest| slow(&glob[letter.len_utf8()..], rest))
            }
        }
    }

    #[test]
    fn a_star_spans_slashes_and_nothing_too() {
        for (glob, text, fits) in [
            ("search_*", "search_", true),
            ("search_*", "search_all/of/it", true),
            ("search_*", "Search_all", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("get", "get", true),
            ("get", "get_", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), fits, "{glob} {text}");
        }
    }

    proptest! {
        #[test]
        fn it_matches_as_its_definition_says(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Glob::new(&glob).matches(&text), slow(&glob, &text));
        }
    }
}
