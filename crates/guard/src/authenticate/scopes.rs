//! Scopes that are broader than others: whoever has one of them has all that it implies.

use std::collections::{BTreeMap, BTreeSet};

/// Which scopes imply which others, all the way down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Implied {
    all: BTreeMap<Box<str>, Vec<Box<str>>>,
}

impl Implied {
    /// Follows what each scope implies to its end; scopes that imply each other are the same.
    #[must_use]
    pub fn new(written: &BTreeMap<String, Vec<String>>) -> Self {
        let reach = |from: &String| {
            let mut met = BTreeSet::from([from.as_str()]);
            let mut open = vec![from.as_str()];
            while let Some(scope) = open.pop() {
                for next in written.get(scope).into_iter().flatten() {
                    if met.insert(next) {
                        open.push(next);
                    }
                }
            }
            met.remove(from.as_str());
            met.into_iter().map(Into::into).collect()
        };
        Self { all: written.keys().map(|from| (from.as_str().into(), reach(from))).collect() }
    }

    /// Adds what the scopes imply. Their order stays, what is added follows, nothing stands twice.
    pub fn expand(&self, scopes: &mut Vec<Box<str>>) {
        let implied: Vec<Box<str>> =
            scopes.iter().filter_map(|scope| self.all.get(scope)).flatten().cloned().collect();
        scopes.extend(implied);
        let mut met = BTreeSet::new();
        scopes.retain(|scope| met.insert(scope.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn au_06_a_broader_scope_implies_others_all_the_way_down() {
        let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let implied = Implied::new(&BTreeMap::from([
            ("files".to_owned(), text(&["files:write", "files:read"])),
            ("files:write".to_owned(), text(&["files:touch"])),
            ("a".to_owned(), text(&["b"])),
            ("b".to_owned(), text(&["a"])),
        ]));
        let expand = |scopes: &[&str]| {
            let mut scopes = scopes.iter().map(|one| (*one).into()).collect();
            implied.expand(&mut scopes);
            scopes.join(" ")
        };
        assert_eq!(expand(&["x", "files"]), "x files files:read files:touch files:write");
        assert_eq!(expand(&["a", "a"]), "a b");
        assert_eq!(expand(&["files:read"]), "files:read");
        assert_eq!(expand(&[]), "");
    }
}
