//! What a forked child does: it leaves its parent's engine alone and keeps the snapshot.

use pyo3::prelude::*;

use super::state::{ENGINE, LIVE, take_ownership};
use super::{attributes, calls};
use crate::live::EvaluationMode;
use crate::postgres::change_signal::CHANGE_SIGNAL;
use crate::postgres::inherited::{self, close_inherited};
use crate::{usage, watch_registry};

/// Notes that this process begins to fork. Does not block.
#[pyfunction]
pub(super) fn fork_begins() {
    inherited::fork_begins();
}

/// Notes, in the parent, that the fork has ended. Does not block.
#[pyfunction]
pub(super) fn fork_ends() {
    inherited::fork_ends();
}

/// Detaches a forked child from its parent's engine. Does not block.
#[pyfunction]
pub(super) fn after_fork() {
    // Leaked: dropping it would end the parent's session, whose socket is shared, and using it
    // would corrupt that session. Its thread does not exist in the child.
    std::mem::forget(ENGINE.swap(None));
    // To close a duplicate of the socket sends nothing.
    close_inherited();
    CHANGE_SIGNAL.forget();
    calls::reset_after_fork();
    attributes::reset_after_fork();
    LIVE.set_own_writes(false);
    let snapshot = LIVE.snapshot();
    usage::reset_after_fork(snapshot.as_deref(), LIVE.unknown_keys());
    watch_registry::reset_after_fork(snapshot.as_deref());
    LIVE.exposures().reset_after_fork();
    for experiment in snapshot.iter().flat_map(|snapshot| snapshot.experiments()) {
        experiment.identity.reset();
    }
    let inherited = LIVE.current().as_ref().map(|state| (state.mode, state.snapshot.is_some()));
    match inherited {
        Some((
            EvaluationMode::Memory | EvaluationMode::Inherited | EvaluationMode::Starting,
            true,
        )) => LIVE.set_mode(EvaluationMode::Inherited, false),
        Some((EvaluationMode::Direct | EvaluationMode::NotStarted, _)) | None => {}
        Some(_) => LIVE.reset(),
    }
    take_ownership();
}
