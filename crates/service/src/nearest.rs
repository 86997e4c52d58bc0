//! The known word a misspelt one was probably meant to be, by one measure for every message that offers one.

/// Returns the known word nearest to `written`, if one is near enough to be offered: one slip for short words, one more for
/// every four letters. Case and the difference of `_` and `-` count for nothing.
#[must_use]
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_ascii_lowercase().replace('_', "-");
    let wanted = plain(written);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&wanted, &plain(word)), word))
        .filter(|(slips, word)| *slips <= 1 + wanted.len().min(word.len()) / 4)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_was_probably_meant_and_nothing_else() {
        let known = ["listen", "allowed-hosts", "name", "url"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("Allowed_Host", known), Some("allowed-hosts"));
        assert_eq!(nearest("urll", known), Some("url"));
        assert_eq!(nearest("password", known), None);
    }
}
