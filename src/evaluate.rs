//! (flag, subject) → evaluation. Pure: no clock, no lock, no I/O, no allocation.
//!
//! This is the only walk through a flag. Whoever wants to know why an answer came about reads the
//! reason of the same [`Evaluation`].

use crate::bucket::bucket;
use crate::flag::Flag;
use crate::subject::Subject;

/// Why a question got its answer, in the words of the OpenFeature specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The switch is off.
    Disabled,
    /// The allow-list names the subject.
    TargetingMatch,
    /// The rollout reaches everyone.
    Static,
    /// The rollout is partial and nobody asked.
    Default,
    /// The subject's bucket was compared with the rollout.
    Split,
    /// There was nothing to evaluate; the error code says why.
    Error,
}

impl Reason {
    /// The word of the specification.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::Split => "SPLIT",
            Self::Error => "ERROR",
        }
    }
}

/// An answer and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The answer.
    pub value: bool,
    /// Which step gave it.
    pub reason: Reason,
    /// The subject's bucket, where it was computed.
    pub bucket: Option<u8>,
}

impl Evaluation {
    const fn new(value: bool, reason: Reason) -> Self {
        Self { value, reason, bucket: None }
    }
}

/// Evaluates `flag`, known as `key`, for `subject`.
#[must_use]
#[inline]
pub fn evaluate(key: &str, flag: &Flag, subject: &Subject<'_>) -> Evaluation {
    if !flag.enabled {
        return Evaluation::new(false, Reason::Disabled);
    }
    if flag.allowed.contains(subject) {
        return Evaluation::new(true, Reason::TargetingMatch);
    }
    if flag.rollout_percent >= 100 {
        return Evaluation::new(true, Reason::Static);
    }
    split(key, flag.rollout_percent, subject)
}

fn split(key: &str, rollout_percent: i32, subject: &Subject<'_>) -> Evaluation {
    if *subject == Subject::Nobody {
        return Evaluation::new(false, Reason::Default);
    }
    // Nobody's bucket is below 0, so there is nothing to hash.
    if rollout_percent <= 0 {
        return Evaluation::new(false, Reason::Split);
    }
    let bucket = subject.text(|subject| bucket(key, subject));
    let value = bucket.is_some_and(|bucket| i32::from(bucket) < rollout_percent);
    Evaluation { value, reason: Reason::Split, bucket }
}
