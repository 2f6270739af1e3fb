//! Dates and datetimes in ISO 8601.

use std::cmp::Ordering;

use super::attributes::{Attributes, Value};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The bytes of a date.
const DATE_LENGTH: usize = 10;

/// A date or datetime, in microseconds since 1970-01-01T00:00. A date is the start of its day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// In UTC.
    Utc(i64),
    /// On the clock of the project's time zone.
    Wall(i64),
}

impl Moment {
    /// The date or datetime of a text such as `2026-03-01` or `2026-03-01T12:30:00.5+01:00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text.as_bytes());
        let midnight = days(date(&mut rest)?);
        if rest.0.is_empty() {
            return Some(Self::Wall(midnight));
        }
        if !rest.skip(b"T ") {
            return None;
        }
        let wall = midnight + time(&mut rest)?;
        if rest.0.is_empty() {
            return Some(Self::Wall(wall));
        }
        let utc = wall - offset(&mut rest)?;
        rest.0.is_empty().then_some(Self::Utc(utc))
    }

    /// The moment of a date, of a datetime, and of a text that is one.
    #[inline(never)]
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        match *value {
            Value::Date(date) => Some(Self::Wall(days(date))),
            Value::DateTime(utc) => Some(Self::Utc(utc)),
            Value::Text(text) => Self::parse(text),
            _ => None,
        }
    }

    pub(super) fn cmp(self, other: Self, zone: &impl Attributes) -> Ordering {
        let (one, two) = (self.micros(), other.micros());
        // No clock is a day from UTC, and none jumps by more than a day, as Samoa's did in 2011: most
        // moments need no time zone.
        if self == other || one.abs_diff(two) >= 2 * DAY.unsigned_abs() {
            return one.cmp(&two);
        }
        self.utc(zone).cmp(&other.utc(zone))
    }

    fn micros(self) -> i64 {
        match self {
            Self::Utc(micros) | Self::Wall(micros) => micros,
        }
    }

    fn utc(self, zone: &impl Attributes) -> i64 {
        match self {
            Self::Utc(utc) => utc,
            Self::Wall(wall) => zone.utc(wall),
        }
    }
}

/// Whether a text is a date such as `2026-03-01`.
#[must_use]
pub fn is_date(text: &str) -> bool {
    text.len() == DATE_LENGTH && Moment::parse(text).is_some()
}

/// Whether a text is a date with a time.
#[must_use]
pub fn is_datetime(text: &str) -> bool {
    text.len() > DATE_LENGTH && Moment::parse(text).is_some()
}

fn days(days: i32) -> i64 {
    i64::from(days) * DAY
}

/// The bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Skips one of these bytes, if it is the next one.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if bytes.contains(first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// A number of exactly this many digits, within the limits.
    fn number(&mut self, digits: usize, limits: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (read, rest) = self.0.split_at_checked(digits)?;
        let mut number = 0;
        for byte in read {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            number = 10 * number + digit;
        }
        self.0 = rest;
        limits.contains(&number).then_some(number)
    }
}

/// `YYYY-MM-DD`, in days since 1970-01-01.
fn date(rest: &mut Rest<'_>) -> Option<i32> {
    let year = rest.number(4, 1..=9999)?;
    let month = rest.skip(b"-").then(|| rest.number(2, 1..=12))??;
    let last = days_of_month(year, month);
    let day = rest.skip(b"-").then(|| rest.number(2, 1..=last))??;
    i32::try_from(days_since_1970(year, month, day)).ok()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let days_of_years = 365 * before + before / 4 - before / 100 + before / 400;
    let days_of_months: i64 = (1..month).map(|month| days_of_month(year, month)).sum();
    // 1970-01-01 is day 719,163, counted from 0001-01-01 as day 1.
    days_of_years + days_of_months + day - 719_163
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` with at most nine digits, in microseconds.
fn time(rest: &mut Rest<'_>) -> Option<i64> {
    let hour = rest.number(2, 0..=23)?;
    let minute = rest.skip(b":").then(|| rest.number(2, 0..=59))??;
    let minutes = (hour * 60 + minute) * 60 * SECOND;
    if !rest.skip(b":") {
        return Some(minutes);
    }
    let seconds = rest.number(2, 0..=59)? * SECOND;
    let fraction = if rest.skip(b".") { fraction(rest)? } else { 0 };
    Some(minutes + seconds + fraction)
}

/// One to nine digits of a second, in microseconds. As in Python, those after the sixth do not count.
fn fraction(rest: &mut Rest<'_>) -> Option<i64> {
    let digits = rest.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let scale = 9_u32.checked_sub(u32::try_from(digits).ok()?)?;
    if digits == 0 {
        return None;
    }
    Some(rest.number(digits, 0..=999_999_999)? * 10_i64.pow(scale) / 1_000)
}

/// `Z`, `±HH:MM`, `±HH:MM:SS`, `±HHMM` or `±HH`, in microseconds.
fn offset(rest: &mut Rest<'_>) -> Option<i64> {
    if rest.skip(b"Zz") {
        return Some(0);
    }
    let sign = if rest.skip(b"+") {
        1
    } else if rest.skip(b"-") {
        -1
    } else {
        return None;
    };
    let hour = rest.number(2, 0..=23)?;
    let has_minute = rest.skip(b":") || !rest.0.is_empty();
    let minute = if has_minute { rest.number(2, 0..=59)? } else { 0 };
    // Python writes them for local mean time.
    let second = if rest.skip(b":") { rest.number(2, 0..=59)? } else { 0 };
    Some(sign * (hour * 3_600 + minute * 60 + second) * SECOND)
}
