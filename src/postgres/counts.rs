//! What was asked and is still to be written, by key and hour.

use std::collections::BTreeMap;

use crate::usage::Asked;

const HOUR: i64 = 3600;
/// How many keys and hours a worker keeps while it cannot write. What is oldest goes first.
const MOST: usize = 100_000;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    no: i64,
    yes: i64,
    last: i64,
}

/// What was asked, by hour, key, and whether there was a flag. Times are seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(i64, Box<str>, bool), Count>);

/// The same in columns, as one statement takes it.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) hours: Vec<i64>,
    pub(super) keys: Vec<String>,
    pub(super) defined: Vec<bool>,
    pub(super) no: Vec<i64>,
    pub(super) yes: Vec<i64>,
    pub(super) last: Vec<i64>,
}

impl Counts {
    /// Adds what was asked up to `now`.
    pub(super) fn add(&mut self, asked: Vec<Asked>, now: i64) {
        for Asked { key, defined, no, yes } in asked {
            let count = self.0.entry((now - now.rem_euclid(HOUR), key, defined)).or_default();
            count.no = count.no.saturating_add_unsigned(no);
            count.yes = count.yes.saturating_add_unsigned(yes);
            count.last = count.last.max(now);
        }
        while self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all of it.
    pub(super) fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        for ((hour, key, defined), count) in std::mem::take(&mut self.0) {
            columns.hours.push(hour);
            columns.keys.push(key.into());
            columns.defined.push(defined);
            columns.no.push(count.no);
            columns.yes.push(count.yes);
            columns.last.push(count.last);
        }
        columns
    }
}

/// How long the hour of `now` still lasts, in seconds.
pub(super) fn left_of_hour(now: i64) -> u64 {
    (HOUR - now.rem_euclid(HOUR)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str, yes: u64) -> Vec<Asked> {
        vec![Asked { key: key.into(), defined: true, no: 1, yes }]
    }

    #[test]
    fn what_is_asked_in_one_hour_is_added_up() {
        let mut counts = Counts::default();
        counts.add(asked("a", 2), 7200);
        counts.add(asked("a", 3), 10_799);
        counts.add(asked("a", 4), 10_800);
        let columns = counts.take();
        assert_eq!(columns.hours, [7200, 10_800]);
        assert_eq!((columns.yes, columns.no), (vec![5, 4], vec![2, 1]));
        assert_eq!(columns.last, [10_799, 10_800]);
        assert!(counts.is_empty());
    }

    #[test]
    fn what_is_too_much_is_forgotten_from_the_oldest_on() {
        let mut counts = Counts::default();
        for hour in 0..=i64::try_from(MOST).expect("a small number") {
            counts.add(asked("a", 1), hour * HOUR);
        }
        let columns = counts.take();
        assert_eq!((columns.hours.len(), columns.hours[0]), (MOST, HOUR));
    }

    #[test]
    fn an_hour_ends_with_its_last_second() {
        assert_eq!([0, 1, 3599, 3600].map(left_of_hour), [3600, 3599, 1, 3600]);
    }
}
