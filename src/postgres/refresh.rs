//! Keeps a snapshot up to date: the state machine, its connection, and the loads.

mod backoff;
pub(crate) mod clock;
mod connection;
pub(crate) mod load;
pub(crate) mod machine;
mod server_info;
mod session;
mod tokens;
pub(crate) mod worker_name;
