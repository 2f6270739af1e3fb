//! Dates and datetimes in ISO 8601.

use std::cmp::Ordering;

use super::attributes::Value;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A date or datetime of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// A date, in days since 1970-01-01.
    Date(i32),
    /// A datetime with an offset, in microseconds since 1970-01-01T00:00 UTC.
    Utc(i64),
    /// A datetime without an offset: microseconds on the clock of the project's time zone.
    Wall(i64),
}

impl Moment {
    /// The date or datetime of a text such as `2026-03-01` or `2026-03-01T12:30:00.5+01:00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text.as_bytes());
        let days = date(&mut rest)?;
        if rest.0.is_empty() {
            return Some(Self::Date(days));
        }
        if !rest.skip(b'T') && !rest.skip(b' ') {
            return None;
        }
        let wall = i64::from(days) * DAY + time(&mut rest)?;
        if rest.0.is_empty() {
            return Some(Self::Wall(wall));
        }
        let utc = wall - offset(&mut rest)?;
        rest.0.is_empty().then_some(Self::Utc(utc))
    }

    /// Whether a date equals a date, or a datetime a datetime. They never equal each other.
    pub(super) fn equals(self, attribute: &Value<'_>) -> bool {
        match (self, *attribute) {
            (Self::Date(own), Value::Date(days)) => own == days,
            (Self::Utc(own), Value::DateTime { utc, .. }) => own == utc,
            (Self::Wall(own), Value::DateTime { wall, .. }) => own == wall,
            _ => false,
        }
    }

    /// Compares an attribute with this moment. A datetime compares with a date as with the start of
    /// that day.
    pub(super) fn compare(self, attribute: &Value<'_>) -> Option<Ordering> {
        match (self, *attribute) {
            (Self::Date(own), Value::Date(days)) => Some(days.cmp(&own)),
            (Self::Date(own), Value::DateTime { wall, .. }) => {
                Some(wall.cmp(&(i64::from(own) * DAY)))
            }
            (Self::Utc(own), Value::DateTime { utc, .. }) => Some(utc.cmp(&own)),
            (Self::Wall(own), Value::DateTime { wall, .. }) => Some(wall.cmp(&own)),
            _ => None,
        }
    }
}

/// The bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
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
    let month = rest.skip(b'-').then(|| rest.number(2, 1..=12))??;
    let last = days_of_month(year, month);
    let day = rest.skip(b'-').then(|| rest.number(2, 1..=last))??;
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

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` with at most six digits, in microseconds.
fn time(rest: &mut Rest<'_>) -> Option<i64> {
    let hour = rest.number(2, 0..=23)?;
    let minute = rest.skip(b':').then(|| rest.number(2, 0..=59))??;
    let minutes = (hour * 60 + minute) * 60 * SECOND;
    if !rest.skip(b':') {
        return Some(minutes);
    }
    let seconds = rest.number(2, 0..=59)? * SECOND;
    let fraction = if rest.skip(b'.') { fraction(rest)? } else { 0 };
    Some(minutes + seconds + fraction)
}

/// One to six digits of a second, in microseconds.
fn fraction(rest: &mut Rest<'_>) -> Option<i64> {
    let digits = rest.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let scale = 6_u32.checked_sub(u32::try_from(digits).ok()?)?;
    if digits == 0 {
        return None;
    }
    Some(rest.number(digits, 0..=SECOND)? * 10_i64.pow(scale))
}

/// `Z` or `±HH:MM`, in microseconds.
fn offset(rest: &mut Rest<'_>) -> Option<i64> {
    if rest.skip(b'Z') {
        return Some(0);
    }
    let sign = if rest.skip(b'+') {
        1
    } else if rest.skip(b'-') {
        -1
    } else {
        return None;
    };
    let hour = rest.number(2, 0..=23)?;
    let minute = rest.skip(b':').then(|| rest.number(2, 0..=59))??;
    Some(sign * (hour * 3_600 + minute * 60) * SECOND)
}
