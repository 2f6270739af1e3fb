//! The database's side of the crate: listen, poll and load, each under a deadline.
//!
//! An [`engine::Engine`] has one thread. The thread holds one long-lived link and publishes
//! into a [`Live`](crate::live::Live); it never touches Python. What must be read besides goes
//! over short links from a small pool.

mod announced;
pub mod connect;
mod counts;
pub mod engine;
pub mod error;
mod listen;
mod load;
mod name;
mod nature;
mod pool;
mod pools;
pub mod queries;
mod refresh;
pub mod report;
mod signals;
pub mod target;
mod text;
mod tls;
mod usage;
