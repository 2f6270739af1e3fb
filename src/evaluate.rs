//! (flag, subject) → evaluation. Pure: no clock, no lock, no I/O, no allocation.
//!
//! This is the only implementation of the semantics. `explain` reads the reason of the same
//! [`Evaluation`].

use crate::bucket::bucket;
use crate::bucketing_unit::{OfRow, unit_bucket};
use crate::flag::Flag;
use crate::rules::{Attributes, Rules};
use crate::subject::Subject;
use crate::targeting::Targeting;

/// Why a flag returned its result, in the words of the OpenFeature specification, and one of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The flag is disabled.
    Disabled,
    /// The subject is an allowed user, or a rule decided without its bucket.
    TargetingMatch,
    /// The rollout includes all users, or a value has no rules.
    Static,
    /// No rule of a value matches; or the rollout is partial, and there is no bucketing unit: the
    /// subject is anonymous, or the attribute is missing.
    Default,
    /// The bucket of the subject, or of the bucketing unit, was compared with the rollout.
    Split,
    /// The user previews the flag in one browser.
    Preview,
    /// There was no flag to evaluate, or its rules cannot be read; the error code says why.
    Error,
}

impl Reason {
    /// The word of the specification, or ours.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::Split => "SPLIT",
            Self::Preview => "PREVIEW",
            Self::Error => "ERROR",
        }
    }
}

/// A result and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The result.
    pub value: bool,
    /// Why it is the result.
    pub reason: Reason,
    /// The bucket, if it was computed.
    pub bucket: Option<u8>,
    /// The number of the targeting rule that decided, 1 for the first one.
    pub rule: Option<u8>,
}

impl Evaluation {
    const fn new(value: bool, reason: Reason) -> Self {
        Self { value, reason, bucket: None, rule: None }
    }
}

/// Evaluates `flag`, whose key is `key`, for `subject`. Reads attributes only for its
/// rules and its bucketing unit.
///
/// The reason [`Reason::Error`] means that the rules cannot be read (`PARSE_ERROR`): the result is
/// then the caller's default.
#[must_use]
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub fn evaluate(
    key: &str,
    flag: &Flag,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Evaluation {
    if !flag.enabled {
        return Evaluation::new(false, Reason::Disabled);
    }
    if flag.allowed_users.contains(subject) {
        return Evaluation::new(true, Reason::TargetingMatch);
    }
    let targeting = flag.targeting.as_deref();
    if let Some(targeting) = targeting
        && let Some(decided) =
            decided_by_rule(key, targeting, Some(flag.rollout_percent), subject, attributes)
    {
        return decided;
    }
    if flag.rollout_percent >= 100 {
        return Evaluation::new(true, Reason::Static);
    }
    split(key, targeting, flag.rollout_percent, subject, attributes)
}

/// The result of an enabled flag for a condition that needs it. `None` if its rules cannot be read,
/// or if it is false because it is at 0 % without rules, or perhaps because a flag is off that it
/// needs itself: a brake must not make a condition true that asks for a flag that is off.
#[must_use]
pub fn needed(
    key: &str,
    flag: &Flag,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Option<bool> {
    if flag.allowed_users.contains(subject) {
        return Some(true);
    }
    let rules = flag.rules().and_then(|rules| rules.rules());
    let (evaluation, is_held) = match (flag.targeting.as_deref(), rules) {
        (Some(targeting), Some(rules)) if !rules.flags().is_empty() => {
            let of_row = OfRow { subject, bucket_by: targeting.bucket_by.as_deref(), attributes };
            below_ceiling(key, targeting, flag.rollout_percent, rules, &of_row)
        }
        _ => (evaluate(key, flag, subject, attributes), false),
    };
    let is_braked = rules.is_none_or(Rules::is_empty) && flag.rollout_percent <= 0;
    let is_unknown = is_braked || is_held || evaluation.reason == Reason::Error;
    (evaluation.value || !is_unknown).then_some(evaluation.value)
}

/// The evaluation of the first rule that matches, or of the rollout of a flag whose rules need others.
/// Not inlined: most flags have no rules.
#[inline(never)]
fn decided_by_rule(
    key: &str,
    targeting: &Targeting,
    rollout_percent: Option<i32>,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Option<Evaluation> {
    let Some(rules) = targeting.rules.as_ref()?.rules() else {
        return Some(Evaluation::new(false, Reason::Error));
    };
    let of_row = OfRow { subject, bucket_by: targeting.bucket_by.as_deref(), attributes };
    if let Some(rollout_percent) = rollout_percent
        && !rules.flags().is_empty()
    {
        return Some(below_ceiling(key, targeting, rollout_percent, rules, &of_row).0);
    }
    let decision = rules.decide(&of_row)?;
    let evaluation = match decision.rollout_percent {
        0 => Evaluation::new(false, Reason::TargetingMatch),
        percent @ 1..100 => split(key, Some(targeting), percent.into(), subject, attributes),
        100.. => Evaluation::new(true, Reason::TargetingMatch),
    };
    Some(Evaluation { rule: Some(decision.number), ..evaluation })
}

/// The evaluation of a flag whose rules need other flags, and whether one that is off limits it.
#[inline(never)]
fn below_ceiling(
    key: &str,
    targeting: &Targeting,
    rollout_percent: i32,
    rules: &Rules,
    of_row: &OfRow<'_, impl Attributes>,
) -> (Evaluation, bool) {
    let (decision, ceiling) = rules.decide_below(of_row);
    let rule = decision.map(|decision| decision.number);
    let given = decision.map_or(rollout_percent, |decision| decision.rollout_percent.into());
    let evaluation = match given.min(ceiling.map_or(100, i32::from)) {
        100.. if rule.is_none() => Evaluation::new(true, Reason::Static),
        100.. => Evaluation::new(true, Reason::TargetingMatch),
        ..=0 if rule.is_some() => Evaluation::new(false, Reason::TargetingMatch),
        percent => split(key, Some(targeting), percent, of_row.subject, of_row.attributes),
    };
    (Evaluation { rule, ..evaluation }, ceiling.is_some())
}

/// What the rules of a value, whose key is `key`, decide for `subject`: true if the subject gets the
/// result of the rule that decided, false for the value itself.
///
/// Reads attributes only for the rules and the bucketing unit. Rules that cannot be read decide
/// nothing: everyone gets the value itself.
#[must_use]
pub fn evaluate_value(
    key: &str,
    targeting: &Targeting,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Evaluation {
    match decided_by_rule(key, targeting, None, subject, attributes) {
        None if targeting.has_rules() => Evaluation::new(false, Reason::Default),
        None | Some(Evaluation { reason: Reason::Error, .. }) => {
            Evaluation::new(false, Reason::Static)
        }
        Some(decided) => decided,
    }
}

fn split(
    key: &str,
    targeting: Option<&Targeting>,
    rollout_percent: i32,
    subject: &Subject<'_>,
    attributes: &impl Attributes,
) -> Evaluation {
    if let Some(unit) = targeting.and_then(|targeting| targeting.bucket_by.as_deref()) {
        return split_by_unit(key, unit, rollout_percent, attributes);
    }
    if *subject == Subject::Anonymous {
        return Evaluation::new(false, Reason::Default);
    }
    // No bucket is below 0, so the hash is not needed.
    if rollout_percent <= 0 {
        return Evaluation::new(false, Reason::Split);
    }
    let bucket = subject.text(|subject| bucket(key, subject));
    let value = bucket.is_some_and(|bucket| i32::from(bucket) < rollout_percent);
    Evaluation { value, reason: Reason::Split, bucket, rule: None }
}

/// The same for a flag that buckets by an attribute. Not inlined: most flags bucket by the user.
#[inline(never)]
fn split_by_unit(
    key: &str,
    unit: &str,
    rollout_percent: i32,
    attributes: &impl Attributes,
) -> Evaluation {
    // Nothing is in, so the unit is not read.
    if rollout_percent <= 0 {
        return Evaluation::new(false, Reason::Split);
    }
    match attributes.read_unit(unit, |unit| unit_bucket(key, unit)) {
        None => Evaluation::new(false, Reason::Default),
        Some(bucket) => {
            let value = i32::from(bucket) < rollout_percent;
            Evaluation { value, reason: Reason::Split, bucket: Some(bucket), rule: None }
        }
    }
}
