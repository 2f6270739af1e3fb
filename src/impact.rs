//! For how many subjects the answer would change, if a flag were rolled out to another share.
//!
//! Asks [`evaluate`](mod@crate::evaluate) twice for each subject, as the flag is and as it would
//! be. Knows nothing of where subjects come from, and keeps of them no more than a sample.

use crate::evaluate::evaluate;
use crate::flag::Flag;
use crate::subject::Subject;

/// What a change of one flag's rollout would do to the subjects that were counted.
#[derive(Debug)]
pub struct Impact {
    key: Box<str>,
    now: Flag,
    then: Flag,
    /// How many were counted.
    pub users: u64,
    /// How many of them have the flag now.
    pub have: u64,
    /// How many would be given it.
    pub gain: u64,
    /// How many it would be taken from.
    pub lose: u64,
    sample: Sample,
}

impl Impact {
    /// Of `flag`, known as `key`, if its rollout were `percent`; with a sample of `most` subjects.
    #[must_use]
    pub fn new(key: &str, flag: Flag, percent: i32, most: usize) -> Self {
        let then = Flag { rollout_percent: percent, ..flag.clone() };
        let sample = Sample::new(most);
        Self { key: key.into(), now: flag, then, users: 0, have: 0, gain: 0, lose: 0, sample }
    }

    /// The flag as it is.
    #[must_use]
    pub fn flag(&self) -> &Flag {
        &self.now
    }

    /// Counts one subject.
    pub fn count(&mut self, subject: &Subject<'_>) {
        let now = evaluate(&self.key, &self.now, subject).value;
        let then = evaluate(&self.key, &self.then, subject).value;
        self.users += 1;
        self.have += u64::from(now);
        if now != then {
            self.gain += u64::from(then);
            self.lose += u64::from(now);
            self.sample.offer(subject);
        }
    }

    /// Counts a subject that nobody can ask as: it has no answer that could change.
    pub fn count_unaskable(&mut self) {
        self.users += 1;
    }

    /// Some of those whose answer would change, each as likely as any other.
    #[must_use]
    pub fn into_sample(self) -> Vec<Box<str>> {
        self.sample.kept
    }
}

/// A sample in which each of those offered is as likely as any other, and that stays small.
#[derive(Debug)]
struct Sample {
    kept: Vec<Box<str>>,
    most: usize,
    offered: u64,
    state: u64,
}

impl Sample {
    fn new(most: usize) -> Self {
        // Seeded alike each time: the same users in the same order give the same sample.
        Self { kept: Vec::new(), most, offered: 0, state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn offer(&mut self, subject: &Subject<'_>) {
        self.offered += 1;
        if self.kept.len() < self.most {
            self.kept.extend(subject.text(|text| text.into()));
            return;
        }
        let place = usize::try_from(self.random() % self.offered).unwrap_or(usize::MAX);
        if let Some(kept) = self.kept.get_mut(place)
            && let Some(text) = subject.text(|text| text.into())
        {
            *kept = text;
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
