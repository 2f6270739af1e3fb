//! The PostgreSQL layer: connect, listen, poll and load, each within a deadline.
//!
//! An [`engine::Engine`] has one thread with one long-lived connection. The thread publishes
//! snapshots into a [`Live`](crate::live::Live) and never touches Python. Other work uses short
//! connections of a small pool.

pub mod change_signal;
pub mod connect;
mod context;
mod deadline;
pub mod engine;
pub mod error;
pub mod inherited;
pub mod queries;
mod random;
mod refresh;
pub mod reports;
mod signals;
pub mod status;
mod suspension;
mod tables;
pub mod texts;
mod threads;

#[doc(hidden)]
pub use refresh::stepped;
