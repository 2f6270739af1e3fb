//! The number of subjects whose result would change with another rollout of a flag.
//!
//! Runs [`evaluate`](mod@crate::evaluate) twice for each subject: with the flag as it is, and with
//! the proposed flag. Keeps only a sample of the subjects.

use crate::evaluate::evaluate;
use crate::flag::Flag;
use crate::rules::{Attributes, NoAttributes};
use crate::subject::Subject;

/// The effect of another state of one flag on the subjects that were counted.
#[derive(Debug)]
pub struct Impact {
    key: Box<str>,
    current: Flag,
    proposed: Flag,
    /// The number of users that were counted.
    pub users: u64,
    /// The number of them who have the flag now.
    pub have: u64,
    /// The number of them who would gain it.
    pub gain: u64,
    /// The number of them who would lose it.
    pub lose: u64,
    sample: Sample,
}

impl Impact {
    /// Compares two states of the flag whose key is `key`. Keeps a sample of at most `sample_size`
    /// subjects whose result would change.
    #[must_use]
    pub fn between(key: &str, current: Flag, proposed: Flag, sample_size: usize) -> Self {
        let sample = Sample::new(sample_size);
        Self { key: key.into(), current, proposed, users: 0, have: 0, gain: 0, lose: 0, sample }
    }

    /// Counts one subject of a flag without rules.
    pub fn count(&mut self, subject: &Subject<'_>) {
        self.count_with(subject, &NoAttributes);
    }

    /// Counts one subject, whose attributes the rules read.
    pub fn count_with(&mut self, subject: &Subject<'_>, attributes: &impl Attributes) {
        let current = evaluate(&self.key, &self.current, subject, attributes).value;
        let proposed = evaluate(&self.key, &self.proposed, subject, attributes).value;
        self.users += 1;
        self.have += u64::from(current);
        if current != proposed {
            self.gain += u64::from(proposed);
            self.lose += u64::from(current);
            self.sample.offer(subject);
        }
    }

    /// Counts a user whose primary key cannot be read, and whose result never changes.
    pub fn count_unreadable(&mut self) {
        self.users += 1;
    }

    /// A random sample of the subjects whose result would change.
    #[must_use]
    pub fn into_sample(self) -> Vec<Box<str>> {
        self.sample.subjects
    }
}

/// A uniform random sample of bounded size (reservoir sampling).
#[derive(Debug)]
struct Sample {
    subjects: Vec<Box<str>>,
    size: usize,
    offered: u64,
    state: u64,
}

impl Sample {
    fn new(size: usize) -> Self {
        // A fixed seed: the same users in the same order yield the same sample.
        Self { subjects: Vec::new(), size, offered: 0, state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn offer(&mut self, subject: &Subject<'_>) {
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

    /// The next number of xorshift64.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
