//! What an engine does besides the refresh: it writes usage, what rollout plans measure and the
//! exposures of experiments, and computes the impact of a rollout.

mod counts;
pub(crate) mod exposures;
pub mod impact;
pub(crate) mod measurements;
mod sender;
pub(crate) mod usage;
