//! Keeps the snapshot up to date: the state machine, its connection, and the loads.

mod backoff;
mod clock;
mod connection;
mod echo;
mod groups;
mod load;
mod lost_changes;
pub(crate) mod machine;
mod notifications;
mod pace;
mod publish;
mod read;
mod region_report;
mod register;
mod register_row;
mod rows;
mod server_info;
mod session;
mod statements;
mod subscription;
mod tokens;

pub use session::stepped;
