//! A small generator of numbers that look random and are the same everywhere: SplitMix64, one stream for each row.

/// Changing this changes every row of the shop.
const SEED: u64 = 0x7472_756e_6b6c_696e;

/// What a stream of numbers is for, so that customer 7 and order 7 have nothing in common.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Customer = 1,
    Checkout = 2,
    Order = 3,
}

/// The numbers belonging to one row.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Starts the numbers of the row with that id.
    pub(crate) fn of(stream: Stream, id: u32) -> Self {
        let place = (stream as u64) << 32 | u64::from(id);
        // One extra mixing step: neighbouring ids would otherwise start neighbouring sequences.
        Self { state: mix(SEED ^ mix(place)) }
    }

    /// Returns a number below `bound`, which is at least 1.
    ///
    /// The bias of the remainder is below one in 2^32 for the bounds used here.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let wide = mix(self.state) >> 32;
        u32::try_from(wide % u64::from(bound)).unwrap_or(0)
    }

    /// Returns one element of a list that is not empty.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
        list[self.below(length) as usize]
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_row_has_the_same_numbers() {
        let numbers = |id| {
            let mut random = Random::of(Stream::Order, id);
            (0..8).map(|_| random.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(5), numbers(5));
        assert_ne!(numbers(5), numbers(6));
    }

    #[test]
    fn numbers_spread_over_the_range() {
        let mut random = Random::of(Stream::Customer, 1);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}
