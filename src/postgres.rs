//! The PostgreSQL layer: connect, listen, poll and load, each within a deadline.
//!
//! An [`engine::Engine`] owns one thread. The thread holds one long-lived connection and publishes
//! snapshots into a [`Live`](crate::live::Live); it never touches Python. Everything else uses
//! short connections from a small pool.

pub mod connect;
mod deadline;
pub mod engine;
pub mod error;
pub mod queries;
mod refresh;
pub mod reports;
mod signals;
pub mod status;
mod text;
