//! JSON text → rules, or the conditions of a segment.

use serde_json::value::RawValue;

use super::condition::{AttributeCondition, Condition, SegmentConditions};
use super::error::{RuleError, quoted};
use super::json::{Json, Members, wrong_kind};
use super::operator::Patterns;
use super::parsed::{ParsedRules, Rule};

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
        let found = whole(text, "the rules")?;
        at_most(found.len(), MAX_RULES, "rules")?;
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
        let found = whole(text, "the conditions")?;
        let conditions = parser.conditions(found, Parser::segments_condition)?;
        Ok(Self { text: text.into(), conditions, patterns: parser.patterns.count() })
    }
}

/// The elements of a whole text.
fn whole<'a>(text: &'a str, what: &str) -> Result<Vec<&'a RawValue>, RuleError> {
    if text.len() > MAX_TEXT {
        return Err(RuleError::new("the JSON text has more than 256 KiB; use fewer values"));
    }
    Json::of_text(text)?.list(what)
}

fn at_most(count: usize, limit: usize, what: &str) -> Result<(), RuleError> {
    if count <= limit {
        return Ok(());
    }
    Err(RuleError::new(format!("{count} {what} are too many; use at most {limit}")))
}

/// What is collected from all conditions of a text.
#[derive(Debug, Default)]
struct Parser {
    segments: Vec<Box<str>>,
    patterns: Patterns,
}

impl Parser {
    fn rule(&mut self, raw: &RawValue, number: usize) -> Result<Rule, RuleError> {
        let place = format!("rule {number}");
        let members = Json::of(raw).and_then(|json| json.object("a rule", &OF_RULE));
        let members = members.map_err(|error| error.at(place.as_str()))?;
        let name = members
            .get("name")
            .and_then(|json| json.map(|json| json.name(r#""name""#, MAX_NAME)).transpose());
        let name = name.map_err(|error| error.at(place.as_str()))?;
        let place = match &name {
            Some(name) => format!("{place} ({})", quoted(name)),
            None => place,
        };
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
            let message = "there are no conditions, which would include everyone; add at least one";
            return Err(RuleError::new(message));
        }
        at_most(found.len(), MAX_CONDITIONS, "conditions")?;
        let parsed = found.into_iter().zip(1..).map(|(raw, number)| {
            parse(self, raw).map_err(|error| error.at(format!("condition {number}")))
        });
        parsed.collect()
    }

    fn condition(&mut self, raw: &RawValue) -> Result<Condition, RuleError> {
        let members = Json::of(raw)?.object("a condition", &OF_CONDITION)?;
        let Some(segment) = members.get("segment")? else {
            return self.attribute_condition(&members).map(Condition::Attribute);
        };
        if let Some(other) = OF_CONDITION[..3].iter().find(|name| members.has(name)) {
            let message =
                format!(r#"a condition has either "segment" or {other:?}; remove one of them"#);
            return Err(RuleError::new(message));
        }
        let negate = negate(&members)?;
        let key = segment.name(r#""segment""#, MAX_KEY)?;
        Ok(Condition::Segment { index: self.index_of(key), negate })
    }

    fn segments_condition(&mut self, raw: &RawValue) -> Result<AttributeCondition, RuleError> {
        let members = Json::of(raw)?.object("a condition", &OF_CONDITION)?;
        if members.has("segment") {
            let message =
                "a segment cannot name a segment; add the conditions of that segment here";
            return Err(RuleError::new(message));
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
            return Err(wrong_kind(r#""operator""#, "a text", &operator));
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
    let message = r#""rollout_percent" must be a whole number from 0 to 100"#;
    number.ok_or_else(|| RuleError::new(message))
}
