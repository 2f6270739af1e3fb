//! JSON text → rules, or the conditions of a segment.

use serde_json::value::RawValue;

use super::condition::{AttributeCondition, Condition, SegmentConditions};
use super::error::{RuleError, numbered, quoted};
use super::json::{Json, Members, wrong_kind};
use super::operator::Patterns;
use super::parsed::{ParsedRules, Rule};
use super::texts;
use crate::message::Template;

/// The longest JSON text, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;
const MAX_RULES: usize = 100;
const MAX_CONDITIONS: usize = 100;
/// The longest name of a rule or attribute, in characters.
const MAX_NAME: usize = 100;
/// The longest key of a segment, in characters.
const MAX_KEY: usize = 255;

const OF_RULE: [&str; 3] = ["name", "conditions", "rollout_percent"];
const OF_CONDITION: [&str; 5] = ["attribute", "operator", "values", "negate", "segment"];

impl ParsedRules {
    /// The rules of a JSON text.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut parser = Parser::default();
        let found = whole(text, &texts::THE_RULES)?;
        at_most(found.len(), MAX_RULES, &texts::TOO_MANY_RULES)?;
        let rules = found.into_iter().zip(1..).map(|(raw, number)| parser.rule(raw, number));
        let rules = rules.collect::<Result<_, _>>()?;
        let (segments, patterns) = (parser.segments.into(), parser.patterns.count());
        Ok(Self { text: text.into(), rules, segments, patterns })
    }
}

impl SegmentConditions {
    /// The conditions of a JSON text.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut parser = Parser::default();
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
#[derive(Debug, Default)]
struct Parser {
    segments: Vec<Box<str>>,
    patterns: Patterns,
}

impl Parser {
    fn rule(&mut self, raw: &RawValue, number: usize) -> Result<Rule, RuleError> {
        let place = || numbered(&texts::RULE, number);
        let members = Json::of(raw).and_then(|json| json.object(&texts::A_RULE, &OF_RULE));
        let members = members.map_err(|error| error.at(place()))?;
        let name = members
            .get("name")
            .and_then(|json| json.map(|json| json.name(r#""name""#, MAX_NAME)).transpose());
        let name = name.map_err(|error| error.at(place()))?;
        let place = name.as_ref().map_or_else(place, |name| {
            let values = [("number", number.to_string().into()), ("name", quoted(name).into())];
            texts::NAMED_RULE.with(values)
        });
        self.rest_of_rule(&members, name).map_err(|error| error.at(place))
    }

    fn rest_of_rule(
        &mut self,
        members: &Members<'_>,
        name: Option<Box<str>>,
    ) -> Result<Rule, RuleError> {
        let rollout_percent =
            members.get("rollout_percent")?.map_or(Ok(100), |json| percent(&json))?;
        let found = members.required("conditions")?.list(r#""conditions""#)?;
        let conditions = self.conditions(found, Self::condition)?;
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
            return self.attribute_condition(&members).map(Condition::Attribute);
        };
        if let Some(other) = OF_CONDITION[..3].iter().find(|name| members.has(name)) {
            let other = [("other", quoted(other).into())];
            return Err(RuleError::with(&texts::SEGMENT_AND_MEMBER, other));
        }
        let negate = negate(&members)?;
        let key = segment.name(r#""segment""#, MAX_KEY)?;
        Ok(Condition::Segment { index: self.index_of(key), negate })
    }

    fn segments_condition(&mut self, raw: &RawValue) -> Result<AttributeCondition, RuleError> {
        let members = Json::of(raw)?.object(&texts::A_CONDITION, &OF_CONDITION)?;
        if members.has("segment") {
            return Err(RuleError::new(&texts::NESTED_SEGMENT));
        }
        self.attribute_condition(&members)
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
        let operator = members.required("operator")?;
        let Json::Text(operator) = operator else {
            return Err(wrong_kind(r#""operator""#, &texts::TEXT, &operator));
        };
        let values = members.required("values")?.list(r#""values""#)?;
        let test = self.patterns.test(&operator, values)?;
        Ok(AttributeCondition { attribute, test, negate: negate(members)? })
    }
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
