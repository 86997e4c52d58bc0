//! Collects everything that is wrong with one item, so that a compiler run shows all of it.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes found in one item so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Notes a mistake at one token.
    pub(crate) fn at(&mut self, span: Span, text: impl Into<String>) {
        self.add(syn::Error::new(span, text.into()));
    }

    /// Notes a mistake that covers all of `tokens`.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, text: impl Into<String>) {
        self.add(syn::Error::new_spanned(tokens, text.into()));
    }

    /// Notes a mistake that is an error already.
    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Returns the value of `result`, or notes its error.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Returns `compile_error!` for each mistake; `None` when there is none.
    pub(crate) fn into_tokens(self) -> Option<TokenStream> {
        self.0.map(|errors| errors.to_compile_error())
    }

    /// Returns the text of each mistake, in the order they were noted.
    #[cfg(test)]
    pub(crate) fn texts(self) -> Vec<String> {
        self.0.into_iter().flatten().map(|error| error.to_string()).collect()
    }
}

/// Returns the word of `known` that `word` was probably meant to be.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let allowed = word.len().saturating_add(1) / 3;
    let begins = |known: &&&str| word.len() >= 3 && (known.starts_with(&word) || word.starts_with(**known));
    let close =
        known.iter().map(|known| (distance(&word, known), *known)).min_by_key(|(distance, _)| *distance);
    close
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, known)| known)
        .or_else(|| known.iter().find(begins).copied())
}

/// Returns "did you mean" for a misspelt word, or the list of what is known.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? known are {}", list(known)),
        None => format!("known are {}", list(known)),
    }
}

/// Writes words as "`a`, `b` and `c`".
pub(crate) fn list<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Returns how many letters are to be changed, added or left out (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, a) in left.bytes().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let cost = (diagonal + usize::from(a != b)).min(before + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, cost);
            before = cost;
        }
        row[0] = line + 1;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["read_only", "description", "mime", "title"];
        for (word, near) in [
            ("readonly", Some("read_only")),
            ("desc", Some("description")),
            ("mime_type", Some("mime")),
            ("titel", Some("title")),
            ("schema", None),
            ("Title", Some("title")),
        ] {
            assert_eq!(nearest(word, &known), near, "{word}");
        }
    }

    #[test]
    fn the_distance_counts_changed_added_and_missing_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
    }

    #[test]
    fn all_mistakes_are_kept_in_order() {
        let mut errors = Errors::default();
        errors.at(Span::call_site(), "first");
        errors.on(quote::quote!(x y), "second");
        assert_eq!(errors.texts(), ["first", "second"]);
        assert!(Errors::default().into_tokens().is_none());
    }
}
