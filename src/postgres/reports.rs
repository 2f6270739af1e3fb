//! What an engine does besides the refresh: it writes usage, what rollout plans measure and the
//! exposures of experiments.

mod counts;
pub(crate) mod exposures;
pub(crate) mod measurements;
mod sender;
pub(crate) mod usage;
