//! Reads and writes beside the refresh: usage and impact.

mod counts;
pub mod impact;
pub(crate) mod usage;
