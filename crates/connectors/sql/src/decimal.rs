//! What doubles hold of decimal numbers.

use trunkline_protocol::decimal::Decimal;

/// Tells whether the double read from the `text` of a number is told by the same number again.
pub(crate) fn is_double(number: Decimal<'_>, text: &str) -> bool {
    let Ok(double) = text.parse::<f64>() else { return false };
    let mut buffer = ryu::Buffer::new();
    double.is_finite()
        && Decimal::parse(buffer.format_finite(double)).is_some_and(|told| number.compare(told).is_eq())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_double_would_change_is_told() {
        let is_double = |text| is_double(Decimal::parse(text).unwrap(), text);
        for text in ["0", "-0.0e-999", "0.1", "0.30", "1e-300", "5e-324", "1.7976931348623157e308"] {
            assert!(is_double(text), "{text}");
        }
        for text in ["1e-400", "-1e-400", "1e309", "-1e99999999999999999999", "12345678901234567890.123"] {
            assert!(!is_double(text), "{text}");
        }
    }
}
