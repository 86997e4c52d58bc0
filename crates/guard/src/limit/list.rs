//! A list that is short nearly always, and needs no allocation then.

/// Room before there is an allocation: server, caller and two roles; or tool, connector, caller and a role.
const SHORT: usize = 4;

/// Elements in the order they came.
#[derive(Debug)]
pub(super) struct List<T> {
    first: [Option<T>; SHORT],
    rest: Vec<T>,
}

impl<T: Copy> List<T> {
    pub(super) const fn new() -> Self {
        Self { first: [None; SHORT], rest: Vec::new() }
    }

    pub(super) fn push(&mut self, element: T) {
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(element),
            None => self.rest.push(element),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.iter().all(Option::is_none)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.first.iter().flatten().chain(&self.rest).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_order_beyond_the_first_ones() {
        let mut list = List::new();
        assert!(list.is_empty());
        (0..9).for_each(|number| list.push(number));
        assert_eq!(list.iter().collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    }
}
