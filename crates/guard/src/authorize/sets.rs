//! Sets of roles as numbers of the process: the same set has the same number whatever file it came from, so that a caller who
//! was remembered under one policy is never taken for another under the next.

use std::sync::{LazyLock, Mutex, Once, PoisonError};

use rustc_hash::FxHashMap;

/// Most sets that get a number. Each costs its names once; a view is made for those that ask.
pub(crate) const MAX_SETS: u32 = 4096;
/// The number of every set that came when all numbers were taken: it says nothing, the names are looked at.
pub(crate) const UNNUMBERED: u32 = u32::MAX;

static SETS: LazyLock<Mutex<Sets>> = LazyLock::new(Mutex::default);

/// The number of each set.
type Sets = FxHashMap<Box<[Box<str>]>, u32>;

/// Returns the number of a set of roles, given in one order always; 0 for the empty one.
pub(crate) fn number(roles: &[Box<str>]) -> u32 {
    if roles.is_empty() {
        return 0;
    }
    let mut sets = SETS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = sets.get(roles) {
        return *number;
    }
    let next = u32::try_from(sets.len()).map_or(MAX_SETS, |count| count + 1);
    if next >= MAX_SETS {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                "{MAX_SETS} different sets of roles are in use; further ones are decided more slowly"
            );
        });
        return UNNUMBERED;
    }
    sets.insert(roles.into(), next);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_keeps_its_number_and_no_other_has_it() {
        let set = |names: &[&str]| number(&names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
        let (one, two) = (set(&["sets-a"]), set(&["sets-a", "sets-b"]));
        assert_eq!(set(&[]), 0);
        assert!(one != 0 && two != 0 && one != two);
        assert_eq!((set(&["sets-a"]), set(&["sets-a", "sets-b"])), (one, two));
    }
}
