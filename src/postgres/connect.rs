//! Reaches a server: connection parameters, roles, TLS and the pool.

pub(crate) mod backend_pid;
pub mod parameters;
pub(crate) mod pool;
pub(crate) mod pools;
pub mod target;
pub(crate) mod tls;
