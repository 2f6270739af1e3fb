//! The number of subjects whose result would change with another state of a flag or a value.
//!
//! Computes the result of each subject twice: with the flag as it is, and with the proposed flag.
//! Keeps only a sample of the subjects. Attributes may be unknown: then some results are, too.

mod reach;
mod value;

use crate::flag::Flag;
use crate::rules::{Attributes, NoAttributes};
use crate::subject::Subject;

pub use self::reach::{Decided, Reach};
pub use self::value::{ValueImpact, ValueState};

use self::reach::Inputs;

/// The effect of another state of one flag on the subjects that were counted.
#[derive(Debug)]
pub struct Impact {
    key: Box<str>,
    current: Flag,
    proposed: Flag,
    /// The number of users that were counted.
    pub users: u64,
    /// The number of them who would gain it.
    pub gain: u64,
    /// The number of them who would lose it.
    pub lose: u64,
    /// The users that the flag reaches now, and the proposed flag.
    pub reach: (Reach, Reach),
    sample: Sample,
}

impl Impact {
    /// Compares two states of the flag whose key is `key`. Keeps a sample of at most `sample_size`
    /// subjects whose result would change.
    #[must_use]
    pub fn between(key: &str, current: Flag, proposed: Flag, sample_size: usize) -> Self {
        let (sample, reach) = (Sample::new(sample_size), Default::default());
        Self { key: key.into(), current, proposed, users: 0, gain: 0, lose: 0, reach, sample }
    }

    /// Counts one subject of a flag without rules.
    pub fn count(&mut self, subject: &Subject<'_>) {
        self.count_with(subject, &NoAttributes, |_| true);
    }

    /// Counts one subject, whose attributes the rules read. `is_known` says of the name of an attribute
    /// whether `attributes` has its value.
    pub fn count_with(
        &mut self,
        subject: &Subject<'_>,
        attributes: &impl Attributes,
        is_known: impl Fn(&str) -> bool,
    ) {
        let inputs = Inputs { key: &self.key, subject, attributes, is_known: &is_known };
        let current = self.reach.0.count(&self.current, &inputs);
        let proposed = self.reach.1.count(&self.proposed, &inputs);
        self.users += 1;
        if let (Some(current), Some(proposed)) = (current, proposed)
            && current != proposed
        {
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
