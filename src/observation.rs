//! One request or task: the evaluations that a rollout plan watches, and how it ended.

use std::sync::Arc;

use crate::watch::{Outcome, Unit, Visit, Watch};

/// The number of evaluations that one request may add. A task may evaluate for a million users.
const MAX_EVALUATIONS: usize = 1000;

/// The watched evaluations of one request or task, until it ends.
#[derive(Debug, Default)]
pub struct Observation {
    evaluations: Vec<Evaluated>,
    has_ended: bool,
}

/// A watched evaluation.
#[derive(Debug)]
struct Evaluated {
    watch: Arc<Watch>,
    unit: Unit,
    inside: bool,
    is_visitor: bool,
}

/// Where a request came from. A task came from nowhere.
#[derive(Debug, Default)]
pub struct Origin {
    /// The network of its client, by any text; `None` if the users per network are not limited.
    pub network: Option<Vec<u8>>,
    /// When the id of its visitor was drawn, in seconds since 1970.
    pub drawn_at: Option<u32>,
}

impl Observation {
    /// Notes that a user or a visitor is inside or outside of the rollout. Each counts once for a
    /// request. Does nothing after the end, because a task that a request has started may outlive
    /// it.
    pub fn note(&mut self, watch: &Arc<Watch>, unit: Unit, inside: bool, is_visitor: bool) {
        let is_known = |known: &Evaluated| known.unit == unit && Arc::ptr_eq(&known.watch, watch);
        if self.has_ended || self.evaluations.iter().any(is_known) {
            return;
        }
        // The order of users does not depend on their sides, so neither side lacks more users.
        if self.evaluations.len() < MAX_EVALUATIONS {
            self.evaluations.push(Evaluated { watch: watch.clone(), unit, inside, is_visitor });
        }
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.evaluations.is_empty()
    }

    /// Counts the request for each of its users. The caller holds the GIL.
    pub fn end(&mut self, outcome: Outcome, origin: &Origin) {
        self.has_ended = true;
        for Evaluated { watch, unit, inside, is_visitor } in self.evaluations.drain(..) {
            let network = origin.network.as_ref().map(|name| watch.network(name));
            let drawn_at = origin.drawn_at.filter(|_| is_visitor);
            watch.count(Visit { unit, inside, network, drawn_at }, outcome);
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
            observation.note(&watch, watch.unit(user), true, false);
        }
        observation.end(OK, &Origin::default());
        observation.note(&watch, watch.unit("3"), true, false);
        observation.end(OK, &Origin::default());
        assert!(watch.take().counts.contains(&(true, CountKind::Requests, 2)));
        assert_eq!(watch.take().counts, []);
    }

    #[test]
    fn request_with_many_users_counts_the_first_ones() {
        let watch = watch();
        let mut observation = Observation::default();
        for user in 0..1001 {
            observation.note(&watch, watch.unit(&user.to_string()), false, false);
        }
        observation.end(OK, &Origin::default());
        let counts = watch.take().counts;
        assert!(counts.contains(&(false, CountKind::Requests, 1000)));
        assert!(counts.iter().all(|(_, kind, _)| *kind != CountKind::Dropped));
    }
}
