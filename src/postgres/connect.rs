//! Reaches a server: connection parameters, the choice of a server, TLS, and the pool.

pub(crate) mod backend_pid;
mod guard;
pub(crate) mod open;
pub mod parameters;
pub mod pool;
pub(crate) mod role;
pub(crate) mod servers;
pub mod target;
pub(crate) mod tls;
