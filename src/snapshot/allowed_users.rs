//! The rows of allowed users → the allowed users of each flag.

use std::sync::Arc;

use hashbrown::HashMap;

use super::slot::LoadedTable;
use crate::primary_key::PrimaryKey;
use crate::row::{AllowedUsersRow, Problem};
use crate::token_set::Relation;
use crate::user_set::UserSet;

/// The allowed users by the primary key of their flag.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedUsersByFlag {
    users: HashMap<PrimaryKey, Arc<UserSet>>,
    /// What all flags without allowed users share, in every load.
    none: Arc<UserSet>,
}

impl AllowedUsersByFlag {
    /// The allowed users of a flag.
    pub(super) fn of(&self, flag: &PrimaryKey) -> Arc<UserSet> {
        self.users.get(flag).unwrap_or(&self.none).clone()
    }
}

impl LoadedTable for AllowedUsersByFlag {
    const RELATION: Relation = Relation::ALLOWED_USERS;

    type Row = AllowedUsersRow;
    type Others<'a> = ();

    fn load(&self, rows: Vec<AllowedUsersRow>, (): &()) -> (Self, Vec<Problem>) {
        let users = rows.into_iter().map(|row| (row.flag_pk, Arc::new(row.users.into())));
        (Self { users: users.collect(), none: self.none.clone() }, Vec::new())
    }

    fn update(&self, _: &[PrimaryKey], rows: Vec<AllowedUsersRow>, (): &()) -> Option<Self> {
        let mut next = self.clone();
        for AllowedUsersRow { flag_pk, users, absent } in rows {
            let updated = self.of(&flag_pk).updated(users, absent)?;
            if updated.is_empty() {
                next.users.remove(&flag_pk);
            } else {
                next.users.insert(flag_pk, Arc::new(updated));
            }
        }
        Some(next)
    }
}
