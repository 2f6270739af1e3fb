//! (flag, subject) → evaluation. Pure: no clock, no lock, no I/O, no allocation.
//!
//! This is the only implementation of the semantics. `explain` reads the reason of the same
//! [`Evaluation`].

use crate::bucket::bucket;
use crate::flag::Flag;
use crate::subject::Subject;

/// Why a flag returned its result, in the words of the OpenFeature specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The flag is disabled.
    Disabled,
    /// The subject is an allowed user.
    TargetingMatch,
    /// The rollout includes all users.
    Static,
    /// The rollout is partial and the subject is anonymous.
    Default,
    /// The subject's bucket was compared with the rollout.
    Split,
    /// There was no flag to evaluate; the error code says why.
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

/// A result and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The result.
    pub value: bool,
    /// The rule that decided.
    pub reason: Reason,
    /// The subject's bucket, if it was computed.
    pub bucket: Option<u8>,
}

impl Evaluation {
    const fn new(value: bool, reason: Reason) -> Self {
        Self { value, reason, bucket: None }
    }
}

/// Evaluates `flag`, whose key is `key`, for `subject`.
#[must_use]
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub fn evaluate(key: &str, flag: &Flag, subject: &Subject<'_>) -> Evaluation {
    if !flag.enabled {
        return Evaluation::new(false, Reason::Disabled);
    }
    if flag.allowed_users.contains(subject) {
        return Evaluation::new(true, Reason::TargetingMatch);
    }
    if flag.rollout_percent >= 100 {
        return Evaluation::new(true, Reason::Static);
    }
    split(key, flag.rollout_percent, subject)
}

fn split(key: &str, rollout_percent: i32, subject: &Subject<'_>) -> Evaluation {
    if *subject == Subject::Anonymous {
        return Evaluation::new(false, Reason::Default);
    }
    // No bucket is below 0, so the hash is not needed.
    if rollout_percent <= 0 {
        return Evaluation::new(false, Reason::Split);
    }
    let bucket = subject.text(|subject| bucket(key, subject));
    let value = bucket.is_some_and(|bucket| i32::from(bucket) < rollout_percent);
    Evaluation { value, reason: Reason::Split, bucket }
}
