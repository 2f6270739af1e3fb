//! A flag as it is evaluated: switch, rollout, allow-list.

use std::sync::Arc;

use crate::allow_list::AllowList;
use crate::usage::Counters;

/// A flag as it is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// The primary key of its row as text, by which its allow-list is found again.
    pub pk: Box<str>,
    /// The switch: off means nobody, whatever else is set.
    pub enabled: bool,
    /// The rollout in percent. At 100 and above everyone has the flag, at 0 and below nobody.
    pub rollout_percent: i32,
    /// Whether browsers may ask for it. Changes no answer.
    pub client_side: bool,
    /// Who has the flag whatever the rollout is.
    pub allowed: Arc<AllowList>,
    /// How often it was asked for. Shared by all versions of the flag that follow each other.
    pub asked: Arc<Counters>,
}

impl Flag {
    /// A flag of no snapshot: it is asked about, and counts no questions of anybody.
    #[must_use]
    pub fn detached(enabled: bool, rollout_percent: i32, allowed: Arc<AllowList>) -> Self {
        let (pk, asked) = ("".into(), Arc::default());
        Self { pk, enabled, rollout_percent, client_side: false, allowed, asked }
    }

    /// Whether the answer differs between users, so that it matters who asks.
    ///
    /// A caller that must pay to find out who asks (a lazy `request.user` costs a query) need not
    /// where this is false: every subject gets the value that nobody gets.
    #[must_use]
    pub fn depends_on_subject(&self) -> bool {
        self.enabled
            && self.rollout_percent < 100
            && (self.rollout_percent > 0 || !self.allowed.is_empty())
    }
}
