//! The one printer of an error with its causes, for the operator's eyes.

use std::error::Error;
use std::fmt;

/// Displays an error and all its causes on one line, leaving out a cause that its parent already told. Nothing is put
/// together unless it is displayed.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.ends_with(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, FailureKind};

    #[test]
    fn causes_follow_and_repeated_ones_are_left_out() {
        let inner = Failure::new(FailureKind::Internal, "pipe closed");
        let middle = Failure::new(FailureKind::Internal, "cannot send: pipe closed").with_source(inner);
        let outer = Failure::new(FailureKind::Internal, "no answer").with_source(middle);
        assert_eq!(Chain(&outer).to_string(), "no answer: cannot send: pipe closed");
    }
}
