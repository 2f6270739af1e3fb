//! Attributes that a test writes as JSON. What JSON cannot write is an object with one kind:
//! `{"decimal": "1.10"}`, `{"float": "nan"}`, `{"date": …, "days": 1}`,
//! `{"datetime": …, "micros": 1}`, `{"needs_user": true}`.

use std::cell::RefCell;

use flagstaff::rules::{Attribute, Attributes, Value};
use serde_json::{Map, Value as Json};

/// The attributes of a subject, and the names that were read.
#[derive(Debug, Default)]
pub(crate) struct Given {
    attributes: Map<String, Json>,
    pub(crate) read: RefCell<Vec<String>>,
}

impl Given {
    pub(crate) fn new(attributes: Map<String, Json>) -> Self {
        Self { attributes, read: RefCell::default() }
    }
}

/// The attributes of a JSON text.
pub(crate) fn given(text: &str) -> Given {
    Given::new(serde_json::from_str(text).expect("an object"))
}

/// The attributes of a subject in this country.
pub(crate) fn in_country(country: &str) -> Given {
    given(&format!(r#"{{"country": "{country}"}}"#))
}

impl Attributes for Given {
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        self.read.borrow_mut().push(name.to_owned());
        match self.attributes.get(name) {
            None | Some(Json::Null) => with(Attribute::Missing),
            Some(Json::Object(kind)) if kind.contains_key("needs_user") => {
                with(Attribute::NeedsUser)
            }
            Some(Json::Array(elements)) => {
                let elements: Vec<Value<'_>> = elements.iter().map(value).collect();
                with(Attribute::Value(Value::List(&elements)))
            }
            Some(json) => with(Attribute::Value(value(json))),
        }
    }

    /// The zone Europe/Berlin. The cases of other years than 2026 have no daylight saving time.
    fn utc(&self, wall: i64) -> i64 {
        let hour = 3_600_000_000;
        let summer = 1_774_753_200_000_000..1_792_897_200_000_000;
        wall - if summer.contains(&wall) { 2 * hour } else { hour }
    }
}

fn value(json: &Json) -> Value<'_> {
    match json {
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64().expect("a float")),
        },
        Json::String(text) => Value::Text(text),
        Json::Object(kind) => of_kind(kind),
        Json::Array(_) => Value::List(&[]),
        Json::Null => panic!("no value"),
    }
}

fn of_kind(kind: &Map<String, Json>) -> Value<'_> {
    let text = |name| kind.get(name).and_then(Json::as_str);
    if let Some(float) = text("float") {
        Value::Float(float.parse().expect("a float"))
    } else if let Some(text) = text("decimal").or_else(|| text("integer")) {
        Value::Decimal(text)
    } else if let Some(days) = kind.get("days") {
        Value::Date(days.as_i64().and_then(|days| days.try_into().ok()).expect("days"))
    } else {
        Value::DateTime(kind["micros"].as_i64().expect("microseconds"))
    }
}
