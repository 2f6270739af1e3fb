//! The core from outside: what a question gets, and what a load makes of the rows.

mod allowed_users;
mod bucket;
mod conformance;
mod evaluate;
mod impact;
mod live;
mod properties;
mod rows;
mod snapshot;
mod stored_value;
mod token_set;
mod usage;
