//! JSON text → rules, or the conditions of a segment.

use serde_json::value::RawValue;

use super::condition::{
    AttributeCondition, BucketCondition, Condition, FlagCondition, PlainCondition,
    SegmentConditions,
};
use super::error::{RuleError, numbered, quoted};
use super::json::{Json, Members, wrong_kind};
use super::operator::Patterns;
use super::parsed::{ParsedRules, Rule, RuleKind};
use super::texts;
use crate::bucket::POSITIONS;
use crate::message::Template;
use crate::stored_value::undecodable;

/// The longest JSON text, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;
const MAX_RULES: usize = 100;
const MAX_CONDITIONS: usize = 100;
/// The longest name of a rule or attribute, in characters.
const MAX_NAME: usize = 100;
/// The longest key of a segment or flag, and the longest name of a bucket, in characters.
const MAX_KEY: usize = 255;

const OF_RULE: [&str; 4] = ["name", "conditions", "rollout_percent", "value"];
const OF_CONDITION: [&str; 8] =
    ["attribute", "operator", "values", "negate", "segment", "bucket", "flag", "is"];
/// What a condition of each kind but an attribute's has, beginning with the member that names it.
const OF_KINDS: [&[&str]; 3] =
    [&["segment", "negate"], &["bucket", "operator", "values", "negate"], &["flag", "is"]];
/// How the seeds of experiments begin, from whose buckets others must be independent.
const OF_EXPERIMENTS: &str = "experiment:";

impl ParsedRules {
    /// The rules of a JSON text.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn parse(text: &str, kind: RuleKind) -> Result<Self, RuleError> {
        let mut parser = Parser::of_rules(kind);
        let found = whole(text, &texts::THE_RULES)?;
        at_most(found.len(), MAX_RULES, &texts::TOO_MANY_RULES)?;
        let last = found.len();
        let numbered = found.into_iter().zip(1..);
        let rules = numbered.map(|(raw, number)| parser.rule(raw, number, number == last));
        let rules = rules.collect::<Result<_, _>>()?;
        let Parser { segments, results, patterns, .. } = parser;
        let (segments, results) = (segments.into(), results.into());
        Ok(Self { text: text.into(), rules, segments, patterns: patterns.count(), results })
    }
}

impl SegmentConditions {
    /// The conditions of a JSON text.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut parser = Parser::of_rules(RuleKind::Flag);
        let found = whole(text, &texts::THE_CONDITIONS)?;
        let conditions = parser.conditions(found, Parser::segments_condition)?;
        Ok(Self { text: text.into(), conditions, patterns: parser.patterns.count() })
    }
}

/// The elements of a whole text.
fn whole<'a>(text: &'a str, what: &'static Template) -> Result<Vec<&'a RawValue>, RuleError> {
    if text.len() > MAX_TEXT {
        return Err(RuleError::new(&texts::TEXT_TOO_LARGE));
    }
    Json::of_text(text)?.list(what)
}

fn at_most(count: usize, limit: usize, problem: &'static Template) -> Result<(), RuleError> {
    if count <= limit {
        return Ok(());
    }
    Err(RuleError::with(problem, [("count", count.into()), ("limit", limit.into())]))
}

/// What is collected from all conditions of a text.
#[derive(Debug)]
struct Parser {
    kind: RuleKind,
    segments: Vec<Box<str>>,
    patterns: Patterns,
    results: Vec<Box<str>>,
}

impl Parser {
    fn of_rules(kind: RuleKind) -> Self {
        Self { kind, segments: Vec::new(), patterns: Patterns::default(), results: Vec::new() }
    }

    fn rule(&mut self, raw: &RawValue, number: usize, is_last: bool) -> Result<Rule, RuleError> {
        let place = || numbered(&texts::RULE, number);
        let known = match self.kind {
            RuleKind::Flag => &OF_RULE[..3],
            RuleKind::Value => &OF_RULE,
        };
        let members = Json::of(raw).and_then(|json| json.object(&texts::A_RULE, known));
        let members = members.map_err(|error| error.at(place()))?;
        let name = members
            .get("name")
            .and_then(|json| json.map(|json| json.name(r#""name""#, MAX_NAME)).transpose());
        let name = name.map_err(|error| error.at(place()))?;
        let place = name.as_ref().map_or_else(place, |name| {
            let values = [("number", number.to_string().into()), ("name", quoted(name).into())];
            texts::NAMED_RULE.with(values)
        });
        self.rest_of_rule(&members, name, is_last).map_err(|error| error.at(place))
    }

    fn rest_of_rule(
        &mut self,
        members: &Members<'_>,
        name: Option<Box<str>>,
        is_last: bool,
    ) -> Result<Rule, RuleError> {
        let rollout_percent =
            members.get("rollout_percent")?.map_or(Ok(100), |json| percent(&json))?;
        if self.kind == RuleKind::Value {
            self.results.push(result(members)?);
        }
        let found = members.required("conditions")?.list(r#""conditions""#)?;
        let conditions = if found.is_empty() && self.kind == RuleKind::Value {
            // Without a percentage it would hide the value itself.
            let may_be_empty = is_last && (1..100).contains(&rollout_percent);
            let empty = may_be_empty.then(Box::default);
            empty.ok_or_else(|| RuleError::new(&texts::NO_CONDITIONS_OF_VALUE))?
        } else {
            self.conditions(found, Self::condition)?
        };
        Ok(Rule { name, conditions, rollout_percent })
    }

    fn conditions<T>(
        &mut self,
        found: Vec<&RawValue>,
        parse: impl Fn(&mut Self, &RawValue) -> Result<T, RuleError>,
    ) -> Result<Box<[T]>, RuleError> {
        if found.is_empty() {
            return Err(RuleError::new(&texts::NO_CONDITIONS));
        }
        at_most(found.len(), MAX_CONDITIONS, &texts::TOO_MANY_CONDITIONS)?;
        let parsed = found.into_iter().zip(1..).map(|(raw, number)| {
            parse(self, raw).map_err(|error| error.at(numbered(&texts::CONDITION, number)))
        });
        parsed.collect()
    }

    fn condition(&mut self, raw: &RawValue) -> Result<Condition, RuleError> {
        let members = Json::of(raw)?.object(&texts::A_CONDITION, &OF_CONDITION)?;
        let Some(segment) = members.get("segment")? else {
            return self.plain(&members).map(Condition::Plain);
        };
        one_kind(&members)?;
        let negate = negate(&members)?;
        let key = segment.name(r#""segment""#, MAX_KEY)?;
        Ok(Condition::Segment { index: self.index_of(key), negate })
    }

    fn segments_condition(&mut self, raw: &RawValue) -> Result<PlainCondition, RuleError> {
        let members = Json::of(raw)?.object(&texts::A_CONDITION, &OF_CONDITION)?;
        if members.has("segment") {
            return Err(RuleError::new(&texts::NESTED_SEGMENT));
        }
        self.plain(&members)
    }

    fn plain(&mut self, members: &Members<'_>) -> Result<PlainCondition, RuleError> {
        one_kind(members)?;
        if let Some(name) = members.get("bucket")? {
            return bucket_condition(name, members).map(PlainCondition::Bucket);
        }
        if let Some(key) = members.get("flag")? {
            let key = key.name(r#""flag""#, MAX_KEY)?;
            let is = members.required("is")?.bool(r#""is""#)?;
            return Ok(PlainCondition::Flag(FlagCondition { key, is }));
        }
        self.attribute_condition(members).map(PlainCondition::Attribute)
    }

    fn index_of(&mut self, key: Box<str>) -> usize {
        self.segments.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.segments.push(key);
            self.segments.len() - 1
        })
    }

    fn attribute_condition(
        &mut self,
        members: &Members<'_>,
    ) -> Result<AttributeCondition, RuleError> {
        let attribute = members.required("attribute")?.name(r#""attribute""#, MAX_NAME)?;
        let (operator, values) = operator_and_values(members)?;
        let test = self.patterns.test(&operator, values)?;
        Ok(AttributeCondition { attribute, test, negate: negate(members)? })
    }
}

fn operator_and_values<'a>(
    members: &Members<'a>,
) -> Result<(String, Vec<&'a RawValue>), RuleError> {
    let operator = members.required("operator")?;
    let Json::Text(operator) = operator else {
        return Err(wrong_kind(r#""operator""#, &texts::TEXT, &operator));
    };
    Ok((operator, members.required("values")?.list(r#""values""#)?))
}

/// Refuses a condition with members of two kinds.
fn one_kind(members: &Members<'_>) -> Result<(), RuleError> {
    let Some(kind) = OF_KINDS.into_iter().find(|kind| members.has(kind[0])) else { return Ok(()) };
    match OF_CONDITION.iter().find(|name| members.has(name) && !kind.contains(name)) {
        None => Ok(()),
        Some(other) => {
            let values = [("kind", quoted(kind[0]).into()), ("other", quoted(other).into())];
            Err(RuleError::with(&texts::TWO_KINDS, values))
        }
    }
}

fn bucket_condition(name: Json<'_>, members: &Members<'_>) -> Result<BucketCondition, RuleError> {
    let name = name.name(r#""bucket""#, MAX_KEY)?;
    if name.starts_with(OF_EXPERIMENTS) {
        return Err(RuleError::new(&texts::BUCKET_OF_EXPERIMENT));
    }
    let (operator, values) = operator_and_values(members)?;
    let is_gte = match &*operator {
        "lt" => false,
        "gte" => true,
        _ => {
            let operator = [("operator", quoted(&operator).into())];
            return Err(RuleError::with(&texts::BUCKET_OPERATOR, operator));
        }
    };
    let end = match values[..] {
        [value] => hundredths(value.get()),
        _ => None,
    };
    let end = end.ok_or_else(|| RuleError::new(&texts::BUCKET_BOUND))?;
    Ok(BucketCondition { name, end, negate: negate(members)? != is_gte })
}

/// The hundredths of a percentage, from 0 to 10,000; `None` for a text that is no such number.
fn hundredths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction:0<2}");
    let has_digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| has_digits_only && fraction.len() <= 2)?;
    (number <= POSITIONS).then_some(number)
}

/// The JSON text of what a rule of a value gives.
fn result(members: &Members<'_>) -> Result<Box<str>, RuleError> {
    let raw = members.required_raw("value")?;
    // A text that PostgreSQL cannot store.
    Json::of(raw)?;
    if let Some(problem) = undecodable(raw.get()) {
        let problem = ("problem", problem.template().into());
        return Err(RuleError::with(&texts::WRONG_RESULT, [problem]));
    }
    Ok(raw.get().into())
}

fn negate(members: &Members<'_>) -> Result<bool, RuleError> {
    members.get("negate")?.map_or(Ok(false), |json| json.bool(r#""negate""#))
}

fn percent(json: &Json<'_>) -> Result<u8, RuleError> {
    let number = match json {
        Json::Number(text) => text.parse().ok().filter(|percent| *percent <= 100),
        _ => None,
    };
    number.ok_or_else(|| RuleError::new(&texts::WRONG_PERCENT))
}
