//! Which names look most like one that does not exist.

use std::collections::BTreeSet;

/// Returns the nearest of `names`, best first: by slips where one is near, else by the pairs of letters they share.
pub(super) fn nearest<'a>(
    written: &str,
    names: &'a [(String, String)],
    most: usize,
) -> Vec<&'a (String, String)> {
    let slip = trunkline_service::nearest(written, names.iter().map(|(_, name)| name.as_str()));
    let wanted = pairs(written);
    let mut scored: Vec<(f64, &(String, String))> = names
        .iter()
        .map(|one| {
            let likeness = if slip == Some(one.1.as_str()) { 2.0 } else { alike(&wanted, &pairs(&one.1)) };
            (likeness, one)
        })
        .filter(|(likeness, _)| *likeness >= LEAST)
        .collect();
    scored.sort_by(|(left, a), (right, b)| right.total_cmp(left).then_with(|| a.cmp(b)));
    scored.into_iter().take(most).map(|(_, one)| one).collect()
}

/// The pairs of neighbouring letters of a name, in lower case; its ends count as letters.
fn pairs(name: &str) -> BTreeSet<(char, char)> {
    let letters: Vec<char> = format!(" {} ", name.to_lowercase()).chars().collect();
    letters.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
}

/// How much two sets share, from 0 to 1.
fn alike(left: &BTreeSet<(char, char)>, right: &BTreeSet<(char, char)>) -> f64 {
    let (shared, all) = (left.intersection(right).count(), left.len() + right.len());
    let [shared, all] = [shared, all].map(|count| u32::try_from(count).map_or(f64::MAX, f64::from));
    2.0 * shared / all.max(1.0)
}

/// Below this, names only happen to share letters.
const LEAST: f64 = 0.35;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_come_first_and_strangers_not_at_all() {
        let names = ["customers", "customer_orders", "invoices", "log"];
        let names: Vec<(String, String)> = names.map(|name| ("public".to_owned(), name.to_owned())).into();
        let near = |written: &str| {
            nearest(written, &names, 5).into_iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(near("custmers"), ["customers", "customer_orders"]);
        assert_eq!(near("invoice_lines").first(), Some(&"invoices"));
        assert!(near("zzz").is_empty());
    }
}
