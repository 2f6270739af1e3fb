//! A flag as it is evaluated: enabled or not, rollout, allowed users.

use std::sync::Arc;

use crate::allowed_users::AllowedUsers;
use crate::counters::Counters;
use crate::primary_key::PrimaryKey;

/// A flag as it is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// The primary key of its row. The next load finds its allowed users by it.
    pub pk: PrimaryKey,
    /// A disabled flag is off for all users.
    pub enabled: bool,
    /// The rollout in percent. At 100 and above all users have the flag; at 0 and below none,
    /// except the allowed users.
    pub rollout_percent: i32,
    /// Whether browsers may read it. Does not affect the result.
    pub client_side: bool,
    /// The users who have the flag regardless of the rollout.
    pub allowed_users: Arc<AllowedUsers>,
    /// How often it was evaluated. All later versions of the flag share it.
    pub counters: Arc<Counters>,
}

impl Flag {
    /// A flag outside a snapshot, whose evaluations are not collected.
    #[must_use]
    pub fn detached(enabled: bool, rollout_percent: i32, allowed_users: Arc<AllowedUsers>) -> Self {
        let (pk, counters) = (PrimaryKey::from(""), Arc::default());
        Self { pk, enabled, rollout_percent, client_side: false, allowed_users, counters }
    }

    /// Whether the result can differ between users.
    ///
    /// If not, every subject gets the result of an anonymous one, and the caller need not read the
    /// user: an unevaluated `request.user` costs a query.
    #[must_use]
    pub fn depends_on_subject(&self) -> bool {
        self.enabled
            && self.rollout_percent < 100
            && (self.rollout_percent > 0 || !self.allowed_users.is_empty())
    }
}
