//! Numbers compared and converted by their digits, so that nothing passes through binary floating point.

use std::cmp::Ordering;

/// A number in JSON's notation, taken apart. Its value is `0.DIGITS * 10^point`, negated where so said.
#[derive(Debug, Clone, Copy)]
pub struct Decimal<'a> {
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
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
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
    #[must_use]
    pub fn to_integer(self) -> Option<i64> {
        if self.significant == 0 {
            return Some(0);
        }
        let places =
            usize::try_from(self.point).ok().filter(|places| (self.significant..=19).contains(places))?;
        let digits = self.digits().chain(std::iter::repeat(b'0')).take(places);
        let size = digits.fold(0_i128, |size, digit| size * 10 + i128::from(digit - b'0'));
        i64::try_from(if self.negative { -size } else { size }).ok()
    }

    /// Tells whether it has no fraction.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.significant == 0 || usize::try_from(self.point).is_ok_and(|places| places >= self.significant)
    }

    /// Tells whether it is a whole number of times `divisor`. Zero divides nothing but zero.
    #[must_use]
    pub fn is_multiple_of(self, divisor: u64) -> bool {
        if self.significant == 0 || !self.is_whole() || divisor == 0 {
            return self.significant == 0;
        }
        let divisor = u128::from(divisor);
        let digits = self.digits().fold(0, |rest, digit| (rest * 10 + u128::from(digit - b'0')) % divisor);
        // `is_whole` made sure that no digit stands behind the point.
        let zeros = u64::try_from(self.point).unwrap_or(0).saturating_sub(self.significant as u64);
        (digits * power_of_ten(zeros, divisor)).is_multiple_of(divisor)
    }

    /// Writes it in the one way that all spellings of it share, for comparing many: `-12345e2` for the digits 0.12345 of
    /// ten to the second.
    #[must_use]
    pub fn canonical(self) -> String {
        if self.significant == 0 {
            return "0".to_owned();
        }
        let mut text = String::with_capacity(self.significant + 8);
        if self.negative {
            text.push('-');
        }
        text.extend(self.digits().map(char::from));
        text.push('e');
        text.push_str(&self.point.to_string());
        text
    }

    /// Compares by value.
    #[must_use]
    pub fn compare(self, other: Decimal<'_>) -> Ordering {
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

/// Ten to the power of `exponent`, of which only the rest by `divisor` counts.
fn power_of_ten(mut exponent: u64, divisor: u128) -> u128 {
    let (mut power, mut base) = (1 % divisor, 10 % divisor);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power * base % divisor;
        }
        base = base * base % divisor;
        exponent >>= 1;
    }
    power
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
    fn multiples_are_told_whatever_the_notation() {
        let is = |text, of| Decimal::parse(text).unwrap().is_multiple_of(of);
        for (text, of) in [
            ("0", 7),
            ("-0.0", 7),
            ("14", 7),
            ("-14.0", 7),
            ("1.4e1", 7),
            ("1e99999999999999999999", 8),
            ("18446744073709551615", u64::MAX),
        ] {
            assert!(is(text, of), "{text} {of}");
        }
        for (text, of) in [("15", 7), ("0.7", 7), ("1e30", 7), ("18446744073709551614", u64::MAX)] {
            assert!(!is(text, of), "{text} {of}");
        }
    }

    #[test]
    fn all_spellings_of_a_number_have_one_canonical_text() {
        let canonical = |text| Decimal::parse(text).unwrap().canonical();
        for group in [&["1", "1.0", "10e-1", "0.1E1"][..], &["-120", "-1.2e2"], &["0", "-0", "0.0e9"]] {
            assert!(group.windows(2).all(|pair| canonical(pair[0]) == canonical(pair[1])), "{group:?}");
        }
        assert_ne!(canonical("1"), canonical("10"));
        assert_ne!(canonical("1"), canonical("-1"));
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
