//! Text is decoded to a scalar only if Python decodes it to the same one.

use flagstaff::stored_value::StoredValue;
use serde_json::Value;

pub(crate) fn json_values(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(StoredValue::from_json(text), expected(text));
    }
}

pub(crate) fn expected(text: &str) -> StoredValue {
    match serde_json::from_str(text) {
        // Python decodes the others, to None as well.
        Ok(Value::Null) if text == "null" => StoredValue::Null,
        Ok(Value::Bool(value)) => StoredValue::Bool(value),
        Ok(Value::Number(number)) if number.is_i64() => {
            StoredValue::Integer(number.as_i64().expect("it is one"))
        }
        Ok(Value::String(value)) => StoredValue::Text(value.into()),
        _ => StoredValue::Json(text.into()),
    }
}
