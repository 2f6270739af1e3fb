//! What an engine does besides the refresh: it writes usage and computes the impact of a rollout.

mod counts;
pub mod impact;
pub(crate) mod usage;
mod usage_buffer;
