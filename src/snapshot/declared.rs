//! What code declares, in the tables of flags and values: entries without a row.

use std::sync::Arc;

use super::Snapshot;
use super::flags::with_declared;
use crate::declared::Declared;

impl Snapshot {
    /// An empty snapshot, from which the first one with these declared keys is made.
    #[must_use]
    pub fn declaring(declared: Arc<Declared>) -> Self {
        Self { declared, ..Self::default() }
    }

    /// The same rows with these declared keys.
    #[must_use]
    pub fn with_declared(self, declared: &Arc<Declared>) -> Self {
        let declares_nothing = self.declared.is_empty() && declared.is_empty();
        if declares_nothing || Arc::ptr_eq(&self.declared, declared) {
            return self;
        }
        let flags = self.flags.replaced(with_declared(&self.flags, declared));
        let values = self.values.replaced(self.values.with_declared(declared));
        let next = Self { flags, values, declared: declared.clone(), ..self };
        next.with_needs().with_missing_names()
    }
}
