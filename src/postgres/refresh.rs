//! Keeps a process up to date: the state machine and what it waits by.

pub(super) mod backoff;
pub(super) mod clock;
pub(super) mod deadline;
pub(super) mod fingerprint;
pub(super) mod machine;
mod session;
