//! Error results whose text ends in the number of their request, and the same error told to another request.

use std::num::NonZeroU32;

use super::Reply;

/// What stands behind the digits of the number in the members of an error result.
const BEHIND: usize = br#")"}],"isError":true"#.len();

/// How many digits a number has.
const DIGITS: usize = 16;

impl Reply {
    /// Returns an [error result](Self::tool_error) of something that the operator's log has under the request's number: the text
    /// ends in that number.
    #[must_use]
    pub fn logged_error(text: &str, log_id: u64) -> Self {
        let mut reply = Self::tool_error(&format!("{text} (request {log_id:016x})"));
        let place = reply.members().len().checked_sub(BEHIND + DIGITS);
        reply.number = place.and_then(|place| u32::try_from(place).ok()).and_then(NonZeroU32::new);
        reply
    }

    /// Returns an error result once more, for another request that met the same failure: where its text ends in the number of a
    /// request, in that one's.
    #[must_use]
    pub fn again(&self, log_id: u64) -> Self {
        let mut members = self.members().to_vec();
        let place = self.number.map(|place| place.get() as usize);
        if let Some(digits) = place.and_then(|place| members.get_mut(place..place + DIGITS)) {
            digits.copy_from_slice(format!("{log_id:016x}").as_bytes());
        }
        let structured = self.structured().cloned();
        Self { number: self.number, ..self.without_members().with_members(members, structured) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn an_error_that_is_told_again_has_the_number_of_whom_it_is_told() {
        for text in ["it is down", "", "a \"quoted\" \u{e9}\n(request 00000000000000ab)"] {
            let first =
                Reply::logged_error(text, 0xab).with_fault(Fault::NotDone).with_meta(b"\"a\":1".to_vec());
            let second = first.again(u64::MAX);
            let expected = Reply::tool_error(&format!("{text} (request ffffffffffffffff)"));
            assert_eq!(second.members(), expected.members());
            assert_eq!((second.is_error(), second.fault()), (true, Some(Fault::NotDone)));
            assert_eq!(second.meta(), first.meta());
            assert_eq!(second.again(0xab).members(), first.members());
        }
    }

    #[test]
    fn an_error_without_a_number_is_told_as_it_is() {
        let first = Reply::tool_error("no (request 00000000000000ab)");
        assert_eq!(first.again(1).members(), first.members());
        // Other members have no number where it was.
        let other = Reply::logged_error("it is down, or so", 1).with_members(vec![b'x'; 90], None);
        assert_eq!(other.again(2).members(), [b'x'; 90]);
    }
}
