//! The pace of the loads that notifications trigger.

use std::time::Duration;

/// The least time between two loads. A single notification triggers a load at once; a storm costs
/// one load per gap.
const GAP: Duration = Duration::from_millis(20);
/// The gap after several busy gaps.
const GAP_IN_STORM: Duration = Duration::from_millis(100);
/// The gap if each load reads everything.
const GAP_WITHOUT_TOKENS: Duration = Duration::from_secs(1);
/// The number of busy gaps in a row that make a storm.
const STORM: u32 = 10;
/// The number of notifications in a gap that is not busy.
const CALM: u32 = 2;

/// The pace of the loads that notifications trigger.
#[derive(Debug, Default)]
pub(super) struct Pace {
    busy_gaps: u32,
}

impl Pace {
    /// The least time between the last load and the next one.
    pub(super) fn gap(&self, has_tokens: bool) -> Duration {
        match self.busy_gaps {
            _ if !has_tokens => GAP_WITHOUT_TOKENS,
            0..STORM => GAP,
            _ => GAP_IN_STORM,
        }
    }

    /// Notes the number of notifications during a gap.
    pub(super) fn gap_ended(&mut self, notifications: u32) {
        let is_busy = notifications > CALM;
        self.busy_gaps = if is_busy { self.busy_gaps.saturating_add(1) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_gaps_in_a_row_lengthen_the_gap_until_a_calm_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.gap(true), GAP);
        (0..STORM).for_each(|_| pace.gap_ended(CALM + 1));
        assert_eq!(pace.gap(true), GAP_IN_STORM);
        pace.gap_ended(CALM);
        assert_eq!(pace.gap(true), GAP);
    }

    #[test]
    fn gap_without_tokens_is_the_longest() {
        assert_eq!(Pace::default().gap(false), GAP_WITHOUT_TOKENS);
    }
}
