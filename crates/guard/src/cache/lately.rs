//! The keys of questions that were asked lately, found by their text as it was sent: who asks twice mostly spells it twice the same,
//! and a look is cheaper than the one spelling and its digest.

use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxBuildHasher;
use trunkline_service::meter::Shards;

use super::key::Made;

/// How many questions each core remembers.
const SLOTS: usize = 128;
/// Longer questions are not remembered, in bytes: at most 96 KiB on each core are.
const LONGEST: usize = 768;
/// Most room that is kept for the next question, in bytes.
const MOST_ROOM: usize = 8192;

/// What was asked lately, on each core by itself: no core waits for another.
#[derive(Debug, Default)]
pub(crate) struct Lately(Shards<Mutex<Table>>);

/// What one core was asked.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Where a question is written, kept so that no memory has to be asked for.
    pub(crate) text: Vec<u8>,
    pub(crate) questions: Questions,
}

/// Questions with their keys. Two that fall on one place drive each other out: that costs time and no truth.
#[derive(Debug, Default)]
pub(crate) struct Questions(Vec<Option<Question>>);

#[derive(Debug)]
struct Question {
    text: Box<[u8]>,
    made: Made,
}

impl Lately {
    /// Returns what this core was asked, for a moment.
    pub(crate) fn mine(&self) -> MutexGuard<'_, Table> {
        // What is half written is written anew.
        let mut table = self.0.mine().lock().unwrap_or_else(PoisonError::into_inner);
        table.text.clear();
        // A long question was here: its room is not kept.
        if table.text.capacity() > MOST_ROOM {
            table.text = Vec::new();
        }
        table
    }
}

impl Questions {
    /// Returns the key of a question, if it is remembered.
    pub(crate) fn find(&self, text: &[u8]) -> Option<Made> {
        if text.len() > LONGEST {
            return None;
        }
        let question = self.0.get(place(text))?.as_ref()?;
        (*question.text == *text).then_some(question.made)
    }

    /// Remembers the key of a question.
    pub(crate) fn keep(&mut self, text: &[u8], made: Made) {
        if text.len() > LONGEST {
            return;
        }
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, || None);
        }
        if let Some(slot) = self.0.get_mut(place(text)) {
            *slot = Some(Question { text: text.into(), made });
        }
    }
}

fn place(text: &[u8]) -> usize {
    let hash = FxBuildHasher.hash_one(text);
    usize::try_from(hash % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::tests::key_of;

    #[test]
    fn a_question_is_found_by_all_of_its_text_and_only_so() {
        let made = |text: &[u8]| Made { key: key_of(text), as_it_was: true };
        let mut questions = Questions::default();
        let texts: Vec<Vec<u8>> = (0..1000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
        for text in &texts {
            assert!(questions.find(text).is_none());
            questions.keep(text, made(text));
            assert!(questions.find(text).is_some_and(|found| found.key == key_of(text)));
        }
        let found = texts.iter().filter(|text| questions.find(text).is_some()).count();
        assert!(found <= SLOTS && found > SLOTS / 2, "{found}");
        assert!(texts.iter().all(|text| questions.find(text).is_none_or(|found| found.key == key_of(text))));
        let long = vec![b'x'; LONGEST + 1];
        questions.keep(&long, made(&long));
        assert!(questions.find(&long).is_none());
    }
}
