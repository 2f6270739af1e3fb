//! The core from outside: what a question gets, and what a load makes of the rows.

mod allow_list;
mod bucket;
mod conformance;
mod evaluate;
mod fingerprint;
mod impact;
mod live;
mod properties;
mod rows;
mod setting;
mod snapshot;
mod usage;
