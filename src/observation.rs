//! One request or task: the evaluations that a rollout plan watches, and how it ended.

use std::sync::Arc;

use crate::watch::{Outcome, Unit, Watch};

/// The number of evaluations that one request may add. A task may evaluate for a million users.
const MAX_EVALUATIONS: usize = 1000;

/// The watched evaluations of one request or task, until it ends.
#[derive(Debug, Default)]
pub struct Observation {
    evaluations: Vec<(Arc<Watch>, Unit, bool)>,
    has_ended: bool,
}

impl Observation {
    /// Notes that a user is inside or outside of the rollout. Each user counts once for a request.
    /// Does nothing after the end, because a task that a request has started may outlive it.
    pub fn note(&mut self, watch: &Arc<Watch>, unit: Unit, inside: bool) {
        let is_known =
            |(known, of, _): &(Arc<Watch>, Unit, bool)| *of == unit && Arc::ptr_eq(known, watch);
        if self.has_ended || self.evaluations.iter().any(is_known) {
            return;
        }
        // The order of users does not depend on their sides, so neither side lacks more users.
        if self.evaluations.len() < MAX_EVALUATIONS {
            self.evaluations.push((watch.clone(), unit, inside));
        }
    }

    /// Counts the request for each of its users. The caller holds the GIL.
    pub fn end(&mut self, outcome: Outcome) {
        self.has_ended = true;
        for (watch, unit, inside) in self.evaluations.drain(..) {
            watch.count(unit, inside, outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::watch::CountKind;

    const OK: Outcome = Outcome { failed: false, took: Duration::from_millis(10) };

    fn watch() -> Arc<Watch> {
        Arc::new(Watch::new(7, b"salt", []))
    }

    #[test]
    fn request_counts_each_user_once_and_nothing_after_its_end() {
        let watch = watch();
        let mut observation = Observation::default();
        for user in ["1", "1", "2"] {
            observation.note(&watch, watch.unit(user), true);
        }
        observation.end(OK);
        observation.note(&watch, watch.unit("3"), true);
        observation.end(OK);
        assert!(watch.take().counts.contains(&(true, CountKind::Requests, 2)));
        assert_eq!(watch.take().counts, []);
    }

    #[test]
    fn request_with_many_users_counts_the_first_ones() {
        let watch = watch();
        let mut observation = Observation::default();
        for user in 0..1001 {
            observation.note(&watch, watch.unit(&user.to_string()), false);
        }
        observation.end(OK);
        let counts = watch.take().counts;
        assert!(counts.contains(&(false, CountKind::Requests, 1000)));
        assert!(counts.iter().all(|(_, kind, _)| *kind != CountKind::Dropped));
    }
}
