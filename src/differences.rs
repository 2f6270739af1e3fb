//! How often another library of flags had a certain result beside ours, while a project changes over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

/// The number of different counts that a process keeps until they are written.
const MAX_COUNTS: usize = 10_000;

/// What was compared, and the two results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Comparison {
    /// What the other library has under the name, such as "flag".
    pub kind: Box<str>,
    /// The name in the other library.
    pub name: Box<str>,
    /// Why the results differ; "equal" if they do not.
    pub cause: Box<str>,
    /// The result of the other library.
    pub theirs: bool,
    /// Our result.
    pub ours: bool,
}

/// How often it happened, and the first example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of evaluations.
    pub count: i64,
    /// The primary key of a user, as text.
    pub user: Box<str>,
    /// The path of a request.
    pub path: Box<str>,
}

type Counts = BTreeMap<Comparison, Count>;

/// The counts of a process that are not written yet.
#[derive(Debug, Default)]
pub struct Differences {
    /// Replaced in a forked child, whose parent may hold the lock.
    counts: ArcSwapOption<Mutex<Counts>>,
}

impl Differences {
    /// No counts so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: ArcSwapOption::const_empty() }
    }

    /// Counts an evaluation. Over the maximum of different counts, a new one is dropped.
    pub fn count(&self, comparison: Comparison, user: &str, path: &str) {
        let counts = self.counts.load_full().unwrap_or_else(|| self.started());
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_COUNTS && !counts.contains_key(&comparison) {
            return;
        }
        let example = || Count { count: 0, user: user.into(), path: path.into() };
        counts.entry(comparison).or_insert_with(example).count += 1;
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let counts = self.counts.load_full();
        counts.is_none_or(|counts| counts.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }

    /// Removes and returns the counts.
    #[must_use]
    pub fn take(&self) -> BTreeMap<Comparison, Count> {
        let counts = self.counts.load_full();
        let take = |counts: Arc<Mutex<Counts>>| {
            std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner))
        };
        counts.map(take).unwrap_or_default()
    }

    /// Drops the counts of the parent, in a forked child.
    pub fn reset_after_fork(&self) {
        // Leaked: another thread of the parent may have held the lock.
        std::mem::forget(self.counts.swap(None));
    }

    #[cold]
    fn started(&self) -> Arc<Mutex<Counts>> {
        let new = Arc::default();
        let previous =
            self.counts.compare_and_swap(&None::<Arc<Mutex<Counts>>>, Some(Arc::clone(&new)));
        previous.clone().unwrap_or(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(name: &str, ours: bool) -> Comparison {
        Comparison {
            kind: "flag".into(),
            name: name.into(),
            cause: "rule".into(),
            theirs: true,
            ours,
        }
    }

    #[test]
    fn equal_comparisons_are_added_up_with_the_first_example() {
        let differences = Differences::new();
        assert!(differences.is_empty());
        differences.count(comparison("a", false), "1", "/cart");
        differences.count(comparison("a", false), "2", "/pay");
        differences.count(comparison("a", true), "3", "/pay");
        let counts: Vec<_> = differences.take().into_values().collect();
        assert_eq!(counts[0], Count { count: 2, user: "1".into(), path: "/cart".into() });
        assert_eq!(counts[1].count, 1);
    }

    #[test]
    fn taken_counts_are_gone_and_later_ones_are_new() {
        let differences = Differences::new();
        differences.count(comparison("a", false), "1", "");
        assert!(!differences.is_empty());
        assert_eq!(differences.take().len(), 1);
        assert!(differences.is_empty());
        differences.count(comparison("a", false), "2", "");
        assert_eq!(differences.take()[&comparison("a", false)].user, "2".into());
    }

    #[test]
    fn new_counts_over_the_maximum_are_dropped_and_known_ones_go_on() {
        let differences = Differences::new();
        for number in 0..=MAX_COUNTS {
            differences.count(comparison(&format!("{number:06}"), false), "", "");
        }
        differences.count(comparison("000000", false), "", "");
        let counts = differences.take();
        assert_eq!(counts.len(), MAX_COUNTS);
        assert_eq!(counts[&comparison("000000", false)].count, 2);
    }

    #[test]
    fn child_after_a_fork_has_no_counts_and_counts_on() {
        let differences = Differences::new();
        differences.count(comparison("a", false), "1", "");
        differences.reset_after_fork();
        assert!(differences.is_empty());
        differences.count(comparison("b", false), "2", "");
        assert_eq!(differences.take().len(), 1);
    }
}
