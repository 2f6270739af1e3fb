//! What a worker writes of itself into the register.

use tokio_postgres::types::{ToSql, Type};

use super::lost_changes::ServerId;
use crate::postgres::context::Context;
use crate::postgres::status::RefreshMode;
use crate::rules::RULE_FORMAT;

/// The number of arguments of a worker that is not behind replication.
pub(super) const OWN_PARAMETERS: usize = 9;

/// What a worker shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) mode: RefreshMode,
    /// The newest barrier.
    pub(super) barrier: i64,
    pub(super) token: i64,
    pub(super) nonce: i64,
}

impl Shown {
    /// What a worker shows as long as its row does not matter.
    pub(super) const NOTHING: Self =
        Self { mode: RefreshMode::Down, barrier: 0, token: 0, nonce: 0 };

    /// Whether it must be written at once after `before`: a caller may wait for it.
    pub(super) fn is_awaited_after(self, before: Self) -> bool {
        (before.mode, before.barrier) != (self.mode, self.barrier)
    }
}

/// The arguments of `flagstaff_worker_v1`.
#[derive(Clone, Debug)]
pub(super) struct RegisterRow {
    secret: String,
    host: String,
    pid: i64,
    rule_format: i64,
    mode: String,
    token: i64,
    nonce: i64,
    /// Whether the session does not belong to the worker.
    pooled: bool,
    /// The time within which the next report is due.
    seconds: f64,
    region: String,
    /// Whether the worker reads a copy of the primary.
    replicated: bool,
    /// The standby that it reads; empty and 0 if it is unknown.
    system: String,
    timeline: i64,
}

impl RegisterRow {
    /// The row of a worker. `mode` is the word of its mode, or "ended".
    pub(super) fn new(secret: &str, context: &Context, shown: Shown, mode: &str) -> Self {
        Self {
            secret: secret.into(),
            host: context.host.clone(),
            pid: std::process::id().into(),
            rule_format: RULE_FORMAT.into(),
            mode: mode.into(),
            token: shown.token,
            nonce: shown.nonce,
            pooled: false,
            seconds: 0.0,
            region: context.region.clone(),
            replicated: false,
            system: String::new(),
            timeline: 0,
        }
    }

    /// The same over a session that belongs to the worker unless it is `pooled`.
    pub(super) fn within(self, seconds: f64, pooled: bool) -> Self {
        Self { pooled, seconds, ..self }
    }

    /// The same of a worker that reads a copy of the primary, over a short connection.
    pub(super) fn of_region(self, seconds: f64) -> Self {
        Self { pooled: true, seconds, replicated: true, ..self }
    }

    /// The same with the server that it reads, if that is known.
    pub(super) fn read_from(self, server: Option<ServerId>) -> Self {
        match server {
            Some(ServerId { system, timeline }) => Self { system: system.into(), timeline, ..self },
            None => self,
        }
    }

    pub(super) fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 13] {
        [
            (&self.secret, Type::TEXT),
            (&self.host, Type::TEXT),
            (&self.pid, Type::INT8),
            (&self.rule_format, Type::INT8),
            (&self.mode, Type::TEXT),
            (&self.token, Type::INT8),
            (&self.nonce, Type::INT8),
            (&self.pooled, Type::BOOL),
            (&self.seconds, Type::FLOAT8),
            (&self.region, Type::TEXT),
            (&self.replicated, Type::BOOL),
            (&self.system, Type::TEXT),
            (&self.timeline, Type::INT8),
        ]
    }
}
