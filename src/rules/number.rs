//! Numbers of any size, compared exactly, and as Python writes them.

use std::cmp::Ordering;

use super::attributes::Value;

/// A finite number: its digits, without zeros at both ends, and where the point is.
#[derive(Debug)]
struct Exact<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// The number of digits before the point. Meaningless for zero, which has no digits.
    magnitude: i64,
}

impl<'a> Exact<'a> {
    /// The number of a text such as `-12.50` or `1E+3`. `None` if it is no finite number, or if its
    /// exponent does not fit 64 bits.
    fn parse(text: &'a str) -> Option<Self> {
        let (is_negative, unsigned) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse().ok()?),
            None => (unsigned, 0_i64),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        Self::new(is_negative, whole.as_bytes(), fraction.as_bytes(), exponent)
    }

    fn new(is_negative: bool, whole: &'a [u8], fraction: &'a [u8], exponent: i64) -> Option<Self> {
        let zeros = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
        let whole = &whole[zeros(whole)..];
        let skipped = if whole.is_empty() { zeros(fraction) } else { 0 };
        let fraction = &fraction[skipped..];
        let before_point = i64::try_from(whole.len()).ok()? - i64::try_from(skipped).ok()?;
        let magnitude = exponent.checked_add(before_point)?;
        Some(Self { is_negative, whole, fraction, magnitude })
    }

    /// The digits of a whole number. `None` with a fraction, or with too many digits.
    fn whole_text(&self) -> Option<String> {
        if self.sign() == 0 {
            return Some("0".to_owned());
        }
        let length = usize::try_from(self.magnitude).ok().filter(|length| *length <= MAX_DIGITS)?;
        if self.digits().skip(length).any(|digit| digit != b'0') {
            return None;
        }
        let minus = self.is_negative.then_some('-').into_iter();
        Some(minus.chain(self.padded(length).map(char::from)).collect())
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied()
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.digits().next(), self.is_negative) {
            (None, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.sign();
        if sign != other.sign() || sign == 0 {
            return sign.cmp(&other.sign());
        }
        let size = self.magnitude.cmp(&other.magnitude).then_with(|| self.cmp_digits(other));
        if sign < 0 { size.reverse() } else { size }
    }

    fn cmp_digits(&self, other: &Self) -> Ordering {
        let length = |exact: &Self| exact.whole.len() + exact.fraction.len();
        let longest = length(self).max(length(other));
        self.padded(longest).cmp(other.padded(longest))
    }

    fn padded(&self, length: usize) -> impl Iterator<Item = u8> {
        self.digits().chain(std::iter::repeat(b'0')).take(length)
    }
}

/// Whether a text is a finite number such as `-12.50` or `1E+3`.
#[must_use]
pub fn is_number(text: &str) -> bool {
    Number::parse(text).is_some()
}

/// Whether two texts are the same number.
#[must_use]
pub fn is_same_number(one: &str, other: &str) -> bool {
    match (Exact::parse(one), Exact::parse(other)) {
        (Some(one), Some(other)) => one.cmp(&other) == Ordering::Equal,
        _ => false,
    }
}

/// A number of a condition.
#[derive(Debug)]
pub(super) struct Number {
    /// The text of the JSON number.
    text: Box<str>,
    integer: Option<i64>,
    /// Whether Python decodes it to an `int`.
    is_int: bool,
    float: f64,
}

/// The largest exponent of a number in a condition, and of one in PostgreSQL.
const MAX_EXPONENT: i64 = 131_072;

impl Number {
    /// The number of a JSON text; `None` if its exponent is out of range.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let exact = Exact::parse(text)?;
        if exact.sign() != 0 && exact.magnitude.abs() > MAX_EXPONENT {
            return None;
        }
        Some(Self {
            text: text.into(),
            integer: text.parse().ok(),
            is_int: !text.contains(['.', 'e', 'E']),
            float: text.parse().ok()?,
        })
    }

    /// The text that Python's `str()` returns for the decoded number.
    pub(super) fn python_text(&self) -> Box<str> {
        match self.integer {
            Some(integer) => integer.to_string().into(),
            None if self.is_int => self.text.clone(),
            None => python_float(self.float).into(),
        }
    }

    /// Compares an attribute with this number. `None` if it is no number, or NaN.
    pub(super) fn compare(&self, attribute: &Value<'_>) -> Option<Ordering> {
        match *attribute {
            Value::Integer(integer) => match self.integer {
                Some(number) => Some(integer.cmp(&number)),
                None => self.compare_text(itoa::Buffer::new().format(integer)),
            },
            Value::Decimal(text) => match infinite_sign(text) {
                Some(ordering) => Some(ordering),
                None => self.compare_text(text),
            },
            Value::Float(float) if self.is_int => self.compare_float_with_int(float),
            Value::Float(float) => float.partial_cmp(&self.float),
            _ => None,
        }
    }

    fn compare_text(&self, text: &str) -> Option<Ordering> {
        Some(Exact::parse(text)?.cmp(&Exact::parse(&self.text)?))
    }

    /// Exact, as in Python: the integer is not rounded to a float.
    fn compare_float_with_int(&self, float: f64) -> Option<Ordering> {
        if !float.is_finite() {
            return float.partial_cmp(&0.0);
        }
        let whole = float.trunc();
        Some(self.compare_text(&format!("{whole:.0}"))?.then(float.total_cmp(&whole)))
    }
}

/// How an infinite `Decimal` compares with any finite number.
fn infinite_sign(text: &str) -> Option<Ordering> {
    match text {
        "Infinity" | "+Infinity" => Some(Ordering::Greater),
        "-Infinity" => Some(Ordering::Less),
        _ => None,
    }
}

/// Whether a text can be that of a number.
pub(super) fn is_number_text(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|number| !number.is_nan())
}

pub(super) fn is_nan(value: &Value<'_>) -> bool {
    match *value {
        Value::Decimal(text) => text.contains(['n', 'N']) && infinite_sign(text).is_none(),
        Value::Float(float) => float.is_nan(),
        _ => false,
    }
}

/// Calls `with` with the text of a text or a number, as Python's `str()` writes it. `None` for NaN,
/// and for what is neither.
pub(super) fn with_text<T>(value: &Value<'_>, with: impl FnOnce(&str) -> T) -> Option<T> {
    match *value {
        Value::Integer(integer) => Some(with(itoa::Buffer::new().format(integer))),
        Value::Decimal(_) | Value::Float(_) if is_nan(value) => None,
        Value::Text(text) | Value::Decimal(text) => Some(with(text)),
        Value::Float(float) => Some(with(&python_float(float))),
        _ => None,
    }
}

/// The most digits of a whole number that is a unit: longer ones are no unit of an experiment.
const MAX_DIGITS: usize = 255;
/// 2⁵³: from here on, a float is not one whole number.
const FLOAT_LIMIT: f64 = 9_007_199_254_740_992.0;

/// Calls `with` with the text of a bucketing unit: a text as it is, and the digits of a whole number,
/// whatever its type. `None` for what is neither.
pub fn with_unit_text<T>(value: &Value<'_>, with: impl FnOnce(&str) -> T) -> Option<T> {
    match *value {
        Value::Decimal(text) => Exact::parse(text)?.whole_text().map(|text| with(&text)),
        // 0 is added because -0 is 0.
        Value::Float(float) if float.fract() == 0.0 && float.abs() < FLOAT_LIMIT => {
            Some(with(&format!("{:.0}", float + 0.0)))
        }
        Value::Float(_) => None,
        _ => with_text(value, with),
    }
}

/// Whether this is a number that is no bucketing unit: one with a fraction, or one that is too large.
#[must_use]
pub fn is_no_unit(value: &Value<'_>) -> bool {
    matches!(value, Value::Decimal(_) | Value::Float(_)) && with_unit_text(value, |_| ()).is_none()
}

/// The text that Python's `str()` returns for a float that is a number.
fn python_float(float: f64) -> String {
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{float}");
    if plain.contains('.') { plain } else { plain + ".0" }
}
