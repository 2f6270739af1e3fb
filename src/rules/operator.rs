//! The name of an operator and its JSON values → a test.

use regex::Regex;
use serde_json::value::RawValue;

use super::attributes::{NoAttributes, Value};
use super::error::{RuleError, listed, numbered, quoted};
use super::json::{Json, wrong_kind};
use super::matching::{Bound, Comparison, Members, Test, Texts};
use super::moment::Moment;
use super::number::Number;
use super::pattern::{MAX_PATTERNS, compile};
use super::texts;
use super::version::Version;

const MAX_VALUES: usize = 1_000;
/// The longest text or number among the values, in characters.
const MAX_LENGTH: usize = 1_000;

const OPERATORS: [&str; 15] = [
    "in",
    "contains",
    "startswith",
    "endswith",
    "regex",
    "lt",
    "lte",
    "gt",
    "gte",
    "version_eq",
    "version_lt",
    "version_lte",
    "version_gt",
    "version_gte",
    "isnull",
];

/// The number of patterns in the conditions that were parsed.
#[derive(Debug, Default)]
pub(super) struct Patterns(usize);

impl Patterns {
    pub(super) fn count(&self) -> usize {
        self.0
    }

    /// The test of an operator and its values.
    pub(super) fn test(
        &mut self,
        operator: &str,
        values: Vec<&RawValue>,
    ) -> Result<Test, RuleError> {
        if values.is_empty() {
            return Err(RuleError::new(&texts::NO_VALUES));
        }
        if values.len() > MAX_VALUES {
            let values = [("count", values.len().into()), ("limit", MAX_VALUES.into())];
            return Err(RuleError::with(&texts::TOO_MANY_VALUES, values));
        }
        Ok(match operator {
            "in" => Test::In(members(values)?),
            "contains" => Test::Contains(texts(values)?),
            "startswith" => Test::StartsWith(texts(values)?),
            "endswith" => Test::EndsWith(texts(values)?),
            "regex" => {
                let patterns = each(values, |json| self.pattern(json))?;
                Test::Matches(patterns.into_iter().flatten().collect())
            }
            "lt" => Test::Compares(Comparison::Lt, each(values, bound)?),
            "lte" => Test::Compares(Comparison::Lte, each(values, bound)?),
            "gt" => Test::Compares(Comparison::Gt, each(values, bound)?),
            "gte" => Test::Compares(Comparison::Gte, each(values, bound)?),
            "version_eq" => Test::ComparesVersion(Comparison::Eq, each(values, version)?),
            "version_lt" => Test::ComparesVersion(Comparison::Lt, each(values, version)?),
            "version_lte" => Test::ComparesVersion(Comparison::Lte, each(values, version)?),
            "version_gt" => Test::ComparesVersion(Comparison::Gt, each(values, version)?),
            "version_gte" => Test::ComparesVersion(Comparison::Gte, each(values, version)?),
            "isnull" => Test::IsNull(is_null(&values)?),
            other => return Err(unknown(other)),
        })
    }

    fn pattern(&mut self, json: Json<'_>) -> Result<Option<Regex>, RuleError> {
        self.0 += 1;
        if self.0 > MAX_PATTERNS {
            let limit = [("limit", MAX_PATTERNS.into())];
            return Err(RuleError::with(&texts::TOO_MANY_PATTERNS, limit));
        }
        compile(&text(json)?)
    }
}

/// Whether one of these JSON values can match an attribute of the same type as this one. True for
/// values that cannot be read.
#[must_use]
pub fn can_match(operator: &str, values: &str, attribute: &Value<'_>) -> bool {
    let values = Json::of_text(values).and_then(|json| json.list(r#""values""#));
    let test = values.and_then(|values| Patterns::default().test(operator, values));
    test.map_or(true, |test| test.matches(attribute, &NoAttributes).is_some())
}

fn unknown(operator: &str) -> RuleError {
    let values = [("operator", quoted(operator).into()), ("known", listed(&OPERATORS).into())];
    RuleError::with(&texts::UNKNOWN_OPERATOR, values)
}

/// Each value, parsed. An error says which one it is.
fn each<T>(
    values: Vec<&RawValue>,
    mut parse: impl FnMut(Json<'_>) -> Result<T, RuleError>,
) -> Result<Box<[T]>, RuleError> {
    let parsed = values.into_iter().zip(1..).map(|(raw, number)| {
        Json::of(raw)
            .and_then(&mut parse)
            .map_err(|error| error.at(numbered(&texts::VALUE, number)))
    });
    parsed.collect()
}

fn texts(values: Vec<&RawValue>) -> Result<Texts, RuleError> {
    each(values, text)
}

fn text(json: Json<'_>) -> Result<Box<str>, RuleError> {
    match json {
        Json::Text(text) => short(text),
        other => Err(wrong_kind(&texts::THE_VALUE, &texts::TEXT, &other)),
    }
}

fn short(text: String) -> Result<Box<str>, RuleError> {
    if text.chars().nth(MAX_LENGTH).is_some() {
        return Err(RuleError::with(&texts::TEXT_TOO_LONG, [("limit", MAX_LENGTH.into())]));
    }
    Ok(text.into())
}

fn number(text: &str) -> Result<Number, RuleError> {
    if text.len() > MAX_LENGTH {
        return Err(RuleError::with(&texts::NUMBER_TOO_LONG, [("limit", MAX_LENGTH.into())]));
    }
    Number::parse(text).ok_or_else(|| RuleError::new(&texts::EXPONENT_TOO_LARGE))
}

fn bound(json: Json<'_>) -> Result<Bound, RuleError> {
    match json {
        Json::Number(text) => number(text).map(Bound::Number),
        Json::Text(text) => {
            let moment = Moment::parse(&text);
            Ok(Bound::Text(short(text)?, moment))
        }
        other => Err(wrong_kind(&texts::THE_VALUE, &texts::NUMBER_OR_TEXT, &other)),
    }
}

fn version(json: Json<'_>) -> Result<Box<str>, RuleError> {
    let text = text(json)?;
    if Version::parse(&text).is_none() {
        return Err(RuleError::new(&texts::NOT_A_VERSION));
    }
    Ok(text)
}

fn is_null(values: &[&RawValue]) -> Result<bool, RuleError> {
    match values {
        [value] => Json::of(value)?.bool(&texts::THE_VALUE),
        _ => Err(RuleError::new(&texts::WRONG_ISNULL)),
    }
}

fn members(values: Vec<&RawValue>) -> Result<Members, RuleError> {
    let (mut bools, mut numbers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    each(values, |json| {
        match json {
            Json::Bool(value) => bools.push(value),
            Json::Number(text) => numbers.push(number(text)?),
            Json::Text(text) => texts.push(short(text)?),
            other => return Err(wrong_kind(&texts::THE_VALUE, &texts::SCALAR, &other)),
        }
        Ok(())
    })?;
    Ok(Members::new(&bools, numbers, texts))
}
