//! What the evaluation of a row may read.

use pyo3::prelude::*;

use super::context::Context;
use super::subject::UserArgument;
use crate::snapshot::Snapshot;

/// The user of an evaluation, not read yet, the contexts, and the snapshot, which has the groups.
#[derive(Clone, Copy)]
pub(super) struct Input<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) user: Option<UserArgument<'a, 'py>>,
    pub(super) context: Context<'a, 'py>,
    pub(super) snapshot: &'a Snapshot,
}

impl<'a, 'py> Input<'a, 'py> {
    /// The same for another user.
    #[inline]
    pub(super) fn with_user(self, user: Option<UserArgument<'a, 'py>>) -> Self {
        Self { user, ..self }
    }
}
