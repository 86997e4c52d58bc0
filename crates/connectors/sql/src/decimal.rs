//! Numbers compared and converted by their digits, so that nothing passes through binary floating point.

use std::cmp::Ordering;

/// A number in JSON's notation, taken apart. Its value is `0.DIGITS * 10^point`, negated where so said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    /// How many digits there are from the first to the last that is not zero; zero for the number zero.
    significant: usize,
    point: i64,
}

/// Beyond any exponent that matters, and far from overflow.
const FAR: i64 = 1 << 40;

impl<'a> Decimal<'a> {
    /// Takes a number apart; `None` unless it is one by JSON's grammar.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, Some(rest.get(at + 1..)?)),
            None => (rest, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || (whole.len() > 1 && whole.starts_with('0'))
            || !digits(whole)
            || !digits(fraction)
        {
            return None;
        }
        let exponent = exponent.map_or(Some(0), read_exponent)?;
        let zeros = whole.bytes().chain(fraction.bytes()).take_while(|byte| *byte == b'0').count();
        let trailing = whole.bytes().chain(fraction.bytes()).rev().take_while(|byte| *byte == b'0').count();
        let significant = (whole.len() + fraction.len()).saturating_sub(zeros + trailing);
        let before = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?;
        Some(Self { negative, whole, fraction, significant, point: before + exponent })
    }

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole
            .bytes()
            .chain(self.fraction.bytes())
            .skip_while(|byte| *byte == b'0')
            .take(self.significant)
    }

    /// Returns the number as an integer; `None` when it has a fraction or does not fit.
    pub(crate) fn to_integer(self) -> Option<i64> {
        if self.significant == 0 {
            return Some(0);
        }
        let places =
            usize::try_from(self.point).ok().filter(|places| (self.significant..=19).contains(places))?;
        let digits = self.digits().chain(std::iter::repeat(b'0')).take(places);
        let size = digits.fold(0_i128, |size, digit| size * 10 + i128::from(digit - b'0'));
        i64::try_from(if self.negative { -size } else { size }).ok()
    }

    /// Tells whether the double read from its `text` is told by the same number again.
    pub(crate) fn is_double(self, text: &str) -> bool {
        let Ok(double) = text.parse::<f64>() else { return false };
        let mut buffer = ryu::Buffer::new();
        double.is_finite()
            && Decimal::parse(buffer.format_finite(double)).is_some_and(|told| self.compare(told).is_eq())
    }

    /// Tells whether it has no fraction.
    pub(crate) fn is_whole(self) -> bool {
        self.significant == 0 || usize::try_from(self.point).is_ok_and(|places| places >= self.significant)
    }

    /// Compares by value.
    pub(crate) fn compare(self, other: Decimal<'_>) -> Ordering {
        let sign = |number: &Decimal<'_>| match (number.significant, number.negative) {
            (0, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let signs = sign(&self).cmp(&sign(&other));
        if signs != Ordering::Equal || self.significant == 0 {
            return signs;
        }
        let sizes = self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits()));
        if self.negative { sizes.reverse() } else { sizes }
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().map_or(FAR, |size: i64| size.min(FAR));
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn integer(text: &str) -> Option<i64> {
        Decimal::parse(text)?.to_integer()
    }

    #[test]
    fn integers_are_exact_in_any_notation() {
        assert_eq!(integer("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("10.0"), Some(10));
        assert_eq!(integer("1.5e1"), Some(15));
        assert_eq!(integer("1.5"), None);
        assert_eq!(integer("0.000e99999999999999999999"), Some(0));
        assert_eq!(integer("1e99999999999999999999"), None);
        assert_eq!(integer("1e-99999999999999999999"), None);
        for bad in ["", "-", "01", "+1", "1.", ".5", "1e", "1e+", " 1", "1 ", "0x1", "NaN", "1_000"] {
            assert!(Decimal::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_number_that_a_double_would_change_is_told() {
        let is_double = |text| Decimal::parse(text).unwrap().is_double(text);
        for text in ["0", "-0.0e-999", "0.1", "0.30", "1e-300", "5e-324", "1.7976931348623157e308"] {
            assert!(is_double(text), "{text}");
        }
        for text in ["1e-400", "-1e-400", "1e309", "-1e99999999999999999999", "12345678901234567890.123"] {
            assert!(!is_double(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn order_is_the_order_of_the_numbers(left in -100_000_i64..100_000, right in -100_000_i64..100_000, shift in 0_u32..4) {
            let text = |number: i64| format!("{}.{:03}e-{shift}", number / 1000, (number % 1000).abs());
            let value = |number: i64| number / 1000 * 1000 + if number < 0 { -(number % 1000).abs() } else { number % 1000 };
            // `-0.5` loses its sign when it is written from its parts.
            prop_assume!(!(-999..0).contains(&left) && !(-999..0).contains(&right));
            let (a, b) = (text(left), text(right));
            let order = Decimal::parse(&a).unwrap().compare(Decimal::parse(&b).unwrap());
            prop_assert_eq!(order, value(left).cmp(&value(right)));
        }

        #[test]
        fn reads_what_serde_reads(text in "-?[0-9]{1,4}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,2})?") {
            prop_assert_eq!(Decimal::parse(&text).is_some(), serde_json::from_str::<f64>(&text).is_ok());
        }
    }
}
