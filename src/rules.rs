//! Targeting rules: conditions on attributes and segments, the percentage of the subjects that match
//! who have the flag, and for values what these subjects get.
//!
//! Rules are parsed once, when they are loaded, and evaluated without looking at JSON again. They
//! depend on neither Python nor the database: [`Attributes`] reads what they need.

mod attributes;
mod condition;
mod decide;
mod error;
mod explain;
mod group_references;
mod json;
mod matching;
mod moment;
mod needs;
mod number;
mod operator;
mod parse;
mod parsed;
mod pattern;
mod texts;
mod version;

pub use self::attributes::{Attribute, Attributes, GROUPS, NoAttributes, Value};
pub use self::condition::{Outcome, SegmentConditions};
pub use self::decide::{Decision, Rules};
pub use self::error::RuleError;
pub use self::explain::{About, ExplainedCondition, ExplainedRule};
pub use self::moment::{is_date, is_datetime};
pub use self::needs::Needs;
pub use self::number::{is_no_unit, is_number, is_same_number, with_unit_text};
pub use self::operator::can_match;
pub use self::parse::MAX_TEXT;
pub use self::parsed::{ParsedRules, RuleKind};
pub use self::texts::TEMPLATES;

/// The format of the rules that this version can read: 1 has the rules of flags, 2 those of values,
/// too, and 3 conditions on buckets and flags, and all comparisons of versions.
pub const RULE_FORMAT: u32 = 3;
