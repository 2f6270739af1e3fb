//! The usage that is not written yet, by hour, key and result.

use std::collections::BTreeMap;

use crate::counters::Bulk;
use crate::usage::{Counted, KeyUsage};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The number of rows that a worker keeps while it cannot write. The oldest go first.
const MAX_COUNTS: usize = 100_000;

/// Usage by hour, key and what is counted: how often, and when last. Times are Unix seconds.
#[derive(Debug)]
pub(super) struct Counts {
    rows: BTreeMap<(i64, Box<str>, Counted), (i64, i64)>,
    /// Until when they are complete.
    until: i64,
}

/// The same as columns, the parameters of one statement.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) hours: Vec<i64>,
    pub(super) keys: Vec<String>,
    pub(super) results: Vec<String>,
    pub(super) counts: Vec<i64>,
    pub(super) last: Vec<i64>,
}

impl Counts {
    /// Nothing, collected from `now` on.
    pub(super) fn since(now: i64) -> Self {
        Self { rows: BTreeMap::new(), until: now }
    }

    /// Adds the usage between the last call and `now`. It belongs to the hour in which this time
    /// began: the caller adds at the end of each hour, which it notices late.
    pub(super) fn add(&mut self, usage: Vec<KeyUsage>, now: i64) {
        // The clock may have been set, or the machine suspended.
        let began = if (0..HOUR).contains(&(now - self.until)) { self.until } else { now };
        self.until = now;
        for KeyUsage { key, counted, count } in usage {
            // All flags may be served at once, so these have one row a day.
            let period = if matches!(counted, Counted::Served(_)) { DAY } else { HOUR };
            let row = self.rows.entry((start_of(period, began), key, counted)).or_default();
            *row = (row.0.saturating_add_unsigned(count), row.1.max(now));
        }
        while self.rows.len() > MAX_COUNTS {
            self.rows.pop_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes and returns everything, and that a worker reports.
    pub(super) fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        columns.push(start_of(HOUR, self.until), "".into(), "report".into(), (0, self.until));
        for ((hour, key, counted), row) in std::mem::take(&mut self.rows) {
            columns.push(hour, key, result_of(counted), row);
        }
        columns
    }
}

impl Columns {
    fn push(&mut self, hour: i64, key: Box<str>, result: String, (count, last): (i64, i64)) {
        self.hours.push(hour);
        self.keys.push(key.into());
        self.results.push(result);
        self.counts.push(count);
        self.last.push(last);
    }
}

/// The text in the column `result`.
fn result_of(counted: Counted) -> String {
    match counted {
        Counted::Flag(result) => result.to_string(),
        Counted::Unknown => "unknown".into(),
        Counted::Value(number) => number.to_string(),
        Counted::Served(Bulk::All) => "bulk".into(),
        Counted::Served(Bulk::ForBrowsers) => "browsers".into(),
        Counted::Served(Bulk::Needed) => "needed".into(),
    }
}

/// The start of the hour or day of `now`.
fn start_of(period: i64, now: i64) -> i64 {
    now - now.rem_euclid(period)
}

/// The seconds until the hour of `now` ends.
pub(super) fn left_of_hour(now: i64) -> u64 {
    (HOUR - now.rem_euclid(HOUR)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(key: &str, counted: Counted, count: u64) -> Vec<KeyUsage> {
        vec![KeyUsage { key: key.into(), counted, count }]
    }

    /// The rows without the one that says that a worker reports.
    fn rows(counts: &mut Counts) -> Vec<(i64, String, String, i64, i64)> {
        let Columns { hours, keys, results, counts, last } = counts.take();
        let rows = hours.into_iter().zip(keys).zip(results).zip(counts).zip(last);
        rows.map(|((((hour, key), result), count), last)| (hour, key, result, count, last))
            .skip(1)
            .collect()
    }

    fn row(hour: i64, result: &str, count: i64, last: i64) -> (i64, String, String, i64, i64) {
        (hour, "a".into(), result.into(), count, last)
    }

    #[test]
    fn usage_belongs_to_the_hour_in_which_its_time_began() {
        let mut counts = Counts::since(7200);
        for (count, now) in [(2, 7201), (3, 10_799), (4, 10_801)] {
            counts.add(usage("a", Counted::Flag(true), count), now);
        }
        counts.add(usage("a", Counted::Flag(false), 1), 10_802);
        // The clock was set back, and the machine suspended.
        counts.add(usage("a", Counted::Flag(false), 1), 7200);
        counts.add(usage("a", Counted::Flag(true), 1), 100_000);
        let expected = [
            row(7200, "false", 1, 7200),
            row(7200, "true", 9, 10_801),
            row(10_800, "false", 1, 10_802),
            row(97_200, "true", 1, 100_000),
        ];
        assert_eq!(rows(&mut counts), expected);
        assert!(counts.is_empty());
    }

    #[test]
    fn key_that_is_served_in_bulk_has_a_row_a_day_without_a_count() {
        let mut counts = Counts::since(7200);
        let served = [Bulk::All, Bulk::ForBrowsers, Bulk::Needed].into_iter().zip(7200..);
        for (bulk, now) in served.chain([(Bulk::All, 86_399)]) {
            counts.add(usage("a", Counted::Served(bulk), 0), now);
        }
        counts.add(Vec::new(), 86_400);
        counts.add(usage("a", Counted::Served(Bulk::All), 0), 86_400);
        let expected = [
            row(0, "bulk", 0, 86_399),
            row(0, "browsers", 0, 7201),
            row(0, "needed", 0, 7202),
            row(86_400, "bulk", 0, 86_400),
        ];
        assert_eq!(rows(&mut counts), expected);
    }

    #[test]
    fn results_of_values_and_unknown_keys_are_rows_of_their_own() {
        let mut counts = Counts::since(7200);
        for counted in [Counted::Value(0), Counted::Value(12), Counted::Unknown, Counted::Value(12)]
        {
            counts.add(usage("a", counted, 3), 7200);
        }
        let expected =
            [row(7200, "unknown", 3, 7200), row(7200, "0", 3, 7200), row(7200, "12", 6, 7200)];
        assert_eq!(rows(&mut counts), expected);
    }

    #[test]
    fn each_flush_says_that_a_worker_reports() {
        let mut counts = Counts::since(0);
        counts.add(Vec::new(), 7201);
        let columns = counts.take();
        assert_eq!(columns.keys, [""]);
        assert_eq!(columns.results, ["report"]);
        assert_eq!((columns.hours, columns.last), (vec![7200], vec![7201]));
    }

    #[test]
    fn rows_over_the_maximum_drop_the_oldest_hours() {
        let mut counts = Counts::since(0);
        for hour in 0..=i64::try_from(MAX_COUNTS).expect("a small number") {
            counts.add(Vec::new(), hour * HOUR);
            counts.add(usage("a", Counted::Flag(true), 1), hour * HOUR);
        }
        let rows = rows(&mut counts);
        assert_eq!((rows.len(), rows[0].0), (MAX_COUNTS, HOUR));
    }

    #[test]
    fn hour_ends_after_its_last_second() {
        assert_eq!([0, 1, 3599, 3600].map(left_of_hour), [3600, 3599, 1, 3600]);
    }
}
