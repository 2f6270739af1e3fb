//! What kind of server a connection leads to, and what that means for keeping up with it.

use tokio_postgres::{Error, Row};

use crate::postgres::status::RefreshMode;

/// Why there are no tokens to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    Table,
    Triggers,
    Replication,
}

/// What kind of server a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    /// A standby takes no LISTEN, and may be behind.
    pub(crate) standby: bool,
    /// Whether a pooler is in between, so that a session is not ours alone.
    pub(crate) pooled: bool,
    lacking: Option<Lacking>,
    shape: String,
}

/// What a server says of itself and of the connection.
#[derive(Debug)]
pub(crate) struct Identification {
    pub(crate) server: ServerInfo,
    /// Whether the session has asked for notifications.
    pub(crate) listening: bool,
}

impl Identification {
    /// `backend_pid` is the process that the client was told of.
    pub(crate) fn from_row(row: &Row, backend_pid: i32) -> Result<Self, Error> {
        let lacking = match row.try_get("lacking")? {
            None => None,
            Some("table") => Some(Lacking::Table),
            Some("replication") => Some(Lacking::Replication),
            Some(_) => Some(Lacking::Triggers),
        };
        let server = ServerInfo {
            standby: row.try_get("standby")?,
            pooled: row.try_get::<_, i32>("backend")? != backend_pid,
            lacking,
            shape: row.try_get("shape")?,
        };
        Ok(Self { server, listening: row.try_get("listening")? })
    }
}

impl ServerInfo {
    /// Whether every watched table leaves tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        self.lacking.is_none()
    }

    /// Whether notifications can be asked for.
    pub(crate) fn takes_listen(&self) -> bool {
        !self.standby && !self.pooled
    }

    /// How a worker keeps up with this server, and why not better. `wanted` says whether
    /// notifications are asked for at all, `listening` whether they are to be had.
    pub(crate) fn mode(
        &self,
        wanted: bool,
        listening: bool,
    ) -> (RefreshMode, Option<&'static str>) {
        match self.lacking {
            Some(Lacking::Table) => {
                (RefreshMode::Reload, Some("there is no table flagstaff_token"))
            }
            Some(Lacking::Triggers) => {
                (RefreshMode::Reload, Some("a table has no token trigger, or it is disabled"))
            }
            Some(Lacking::Replication) => {
                (RefreshMode::Reload, Some("the tables are replicated without flagstaff_token"))
            }
            None if listening => (RefreshMode::Live, None),
            None if !wanted => (RefreshMode::Poll, Some("LISTEN is False")),
            None if self.pooled => (RefreshMode::Poll, Some("a connection pooler is in between")),
            None if self.standby => (RefreshMode::Poll, Some("the server is a standby")),
            None => (RefreshMode::Poll, Some("the server refused LISTEN")),
        }
    }
}
