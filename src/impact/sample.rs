//! A sample of the subjects whose result would change.

use crate::subject::Subject;

/// A uniform random sample of bounded size (reservoir sampling).
#[derive(Debug)]
pub(super) struct Sample {
    subjects: Vec<Box<str>>,
    size: usize,
    offered: u64,
    state: u64,
}

impl Sample {
    pub(super) fn new(size: usize) -> Self {
        // A fixed seed: the same users in the same order yield the same sample.
        Self { subjects: Vec::new(), size, offered: 0, state: 0x9e37_79b9_7f4a_7c15 }
    }

    pub(super) fn offer(&mut self, subject: &Subject<'_>) {
        self.offered += 1;
        if self.subjects.len() < self.size {
            self.subjects.extend(subject.text(|text| text.into()));
            return;
        }
        let place = usize::try_from(self.random() % self.offered).unwrap_or(usize::MAX);
        if let Some(replaced) = self.subjects.get_mut(place)
            && let Some(text) = subject.text(|text| text.into())
        {
            *replaced = text;
        }
    }

    pub(super) fn into_subjects(self) -> Vec<Box<str>> {
        self.subjects
    }

    /// The next number of xorshift64.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
