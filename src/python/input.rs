//! What the evaluation of a row may read.

use pyo3::prelude::*;

use super::attributes::{any_of_user, without_database};
use super::context::Context;
use super::resolution::ErrorCode;
use super::subject::UserArgument;
use crate::snapshot::Snapshot;
use crate::targeting::Dependent;

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

    /// Whether the result of a row that reads attributes depends on the user, and not only on the
    /// context.
    pub(super) fn needs_user(self, row: &impl Dependent) -> PyResult<bool> {
        Ok(row.depends_on_subject()
            && (row.depends_on_key() || any_of_user(self.py, row.attributes(), self.context)?))
    }

    /// The user, if the result depends on it. A lazy user is not loaded for anything else.
    pub(super) fn needed_user(
        self,
        row: &impl Dependent,
    ) -> PyResult<Option<UserArgument<'a, 'py>>> {
        match self.user {
            Some(user) if user.is_lazy() && !self.needs_user(row)? => Ok(None),
            user => Ok(user.filter(|_| row.depends_on_subject())),
        }
    }

    /// Explains the result of a row. A user who cannot be read because the database is away is
    /// anonymous, unless the result depends on the user.
    pub(super) fn explain<T>(
        self,
        row: &impl Dependent,
        explain: impl Fn(Self) -> PyResult<T>,
    ) -> PyResult<Result<T, ErrorCode>> {
        match explain(self) {
            Ok(explained) => Ok(Ok(explained)),
            Err(error) => match without_database(self.py, error)? {
                _ if self.user.is_some() && !self.needs_user(row)? => {
                    self.with_user(None).explain(row, explain)
                }
                code => Ok(Err(code)),
            },
        }
    }
}
