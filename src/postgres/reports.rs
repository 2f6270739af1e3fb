//! What an engine does besides the refresh: it writes usage and what rollout plans measure, and
//! computes the impact of a rollout.

mod counts;
pub mod impact;
pub(crate) mod measurements;
mod sender;
pub(crate) mod usage;
