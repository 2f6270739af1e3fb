//! What code declares, in the tables of flags and values: entries without a row.

use std::sync::Arc;

use super::Snapshot;
use super::flags::Flags;
use crate::declared::Declared;
use crate::flag::{Flag, Identity};
use crate::primary_key::PrimaryKey;

impl Snapshot {
    /// An empty snapshot, from which the first one with these declared keys is made.
    #[must_use]
    pub fn declaring(declared: Arc<Declared>) -> Self {
        Self { declared, ..Self::default() }
    }

    /// The same rows with these declared keys.
    #[must_use]
    pub fn with_declared(self, declared: &Arc<Declared>) -> Self {
        if Arc::ptr_eq(&self.declared, declared) {
            return self;
        }
        let flags = self.flags.replaced(flags_with(&self.flags, declared));
        let values = self.values.replaced(self.values.with_declared(declared));
        Self { flags, values, declared: declared.clone(), ..self }
    }
}

/// The flags with what code declares now.
fn flags_with(flags: &Flags, declared: &Declared) -> Flags {
    let of_rows = flags.iter().filter(|flag| flag.has_row()).cloned();
    let mut next = of_rows.map(|flag| declared_flag(flag, declared)).collect();
    add_flags(&mut next, flags, declared);
    next
}

/// The flag of a row, as far as code lets it be read.
pub(super) fn declared_flag(mut flag: Flag, declared: &Declared) -> Flag {
    if let Some(declared) = declared.flags.get(&*flag.identity.key) {
        flag.client_side &= declared.client_side;
    }
    flag
}

/// Adds the declared flags without a row: disabled.
pub(super) fn add_flags(flags: &mut Flags, before: &Flags, declared: &Declared) {
    for (key, declared) in &declared.flags {
        if flags.get(key).is_some() {
            continue;
        }
        let identity = match before.get(key) {
            Some(before) if !before.has_row() => before.identity.clone(),
            _ => Arc::new(Identity::new(key.clone(), PrimaryKey::None)),
        };
        flags.add(Flag {
            identity,
            enabled: false,
            rollout_percent: 0,
            client_side: declared.client_side,
            allowed_users: Arc::default(),
            targeting: None,
        });
    }
}
