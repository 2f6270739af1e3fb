//! Any texts are rules and attributes that evaluate without a panic, or an error of one line.

use std::cell::RefCell;
use std::sync::Arc;

use flagstaff::rules::{
    Attribute, Attributes, ParsedRules, RuleError, RuleKind, Rules, SegmentConditions, Value,
};

/// The texts are separated by zero bytes: rules, the conditions of a segment, an attribute.
pub(crate) fn rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut texts = text.split('\0');
    let mut next = || texts.next().unwrap_or_default();
    let (rules, segment, attribute) = (next(), next(), next());
    let segment = assert_parsed(SegmentConditions::parse(segment)).map(Arc::new);
    for kind in [RuleKind::Flag, RuleKind::Value] {
        let Some(parsed) = assert_parsed(ParsedRules::parse(rules, kind)) else { continue };
        assert_eq!(ParsedRules::parse(rules, kind).as_ref(), Ok(&parsed));
        let rules = Rules::new(Arc::new(parsed), |key| segment.clone().filter(|_| key == "s"));
        for value in values(attribute) {
            assert_decided(&rules, &Same { value, read: RefCell::default() });
        }
    }
}

/// The error is one line, and not longer than a line of a log may be.
fn assert_parsed<T>(parsed: Result<T, RuleError>) -> Option<T> {
    let error = match parsed {
        Ok(parsed) => return Some(parsed),
        Err(error) => error.to_string(),
    };
    assert!(!error.chars().any(char::is_control), "{error:?}");
    assert!(error.chars().count() < 2_000, "{error}");
    None
}

/// The same text as each type of value that has one.
fn values(text: &str) -> Vec<Value<'_>> {
    let number = text.parse().unwrap_or(0.0);
    let integer = text.parse().unwrap_or(0);
    let moment = Value::DateTime(integer);
    let days = Value::Date(i32::try_from(integer).unwrap_or(i32::MAX));
    let float = Value::Float(number);
    let (text, decimal) = (Value::Text(text), Value::Decimal(text));
    vec![text, decimal, float, Value::Integer(integer), Value::Bool(number > 0.0), days, moment]
}

/// Every attribute has the same value.
struct Same<'a> {
    value: Value<'a>,
    read: RefCell<Vec<String>>,
}

impl Attributes for Same<'_> {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        self.read.borrow_mut().push(name.to_owned());
        with(Attribute::Value(self.value))
    }
}

fn assert_decided(rules: &Rules, attributes: &Same<'_>) {
    let decided = rules.decide(attributes).map(|decision| decision.number);
    for name in attributes.read.borrow().iter() {
        assert!(rules.attributes().contains(&name.as_str().into()), "{name:?} is not listed");
    }
    let explained = rules.explain(attributes).into_iter().find(|rule| rule.decides);
    assert_eq!(explained.map(|rule| rule.number), decided);
}
