//! What a person previews in one browser: results of flags in one request, for its own user only.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::prelude::*;

use super::state::LIVE;
use crate::snapshot::Snapshot;

/// The flags that this process has when it is made.
///
/// A later load of any flag ends the previews that are checked with it.
#[pyclass(frozen, module = "flagstaff._core")]
pub(super) struct LoadedFlags {
    snapshot: Option<Arc<Snapshot>>,
}

#[pymethods]
impl LoadedFlags {
    #[new]
    fn new() -> Self {
        Self { snapshot: LIVE.snapshot() }
    }
}

/// The previews of a request, which were checked before its view.
pub(super) struct Preview {
    /// The text of the user's primary key.
    user: String,
    flags: HashMap<String, bool>,
    /// Those of before the check.
    before: Option<Arc<Snapshot>>,
}

impl FromPyObject<'_, '_> for Preview {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let (user, flags, before): (_, _, Bound<'_, LoadedFlags>) = object.extract()?;
        Ok(Self { user, flags, before: before.get().snapshot.clone() })
    }
}

impl Preview {
    pub(super) fn is_of(&self, user: &str) -> bool {
        self.user == user
    }

    /// The result of a flag; `None` without a preview.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.flags.get(key).copied()
    }

    /// The keys of the flags, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.flags.keys().map(|key| &**key)
    }

    /// Whether no flag was loaded again since the check: it may have been killed, also while it was off.
    pub(super) fn is_current(&self) -> bool {
        match (&self.before, LIVE.snapshot()) {
            (Some(before), Some(now)) => now.has_flags_of(before),
            (before, now) => before.is_none() && now.is_none(),
        }
    }
}
