//! What kind of server a link leads to, and what that means for keeping up with it.

use tokio_postgres::{Error, Row};

use super::report::Mode;

/// Why there are no tokens to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    Table,
    Triggers,
    Replication,
}

/// What kind of server a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    /// A standby takes no LISTEN, and may be behind.
    pub(super) standby: bool,
    /// Whether a pooler is in between, so that a session is not ours alone.
    pub(super) pooled: bool,
    lacking: Option<Lacking>,
    shape: String,
}

/// What a server says of itself and of the link.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) nature: Nature,
    /// Whether the session has asked for notifications.
    pub(super) listening: bool,
}

impl Identity {
    /// `announced` is the process that the client was told of.
    pub(super) fn from_row(row: &Row, announced: i32) -> Result<Self, Error> {
        let lacking = match row.try_get("lacking")? {
            None => None,
            Some("table") => Some(Lacking::Table),
            Some("replication") => Some(Lacking::Replication),
            Some(_) => Some(Lacking::Triggers),
        };
        let nature = Nature {
            standby: row.try_get("standby")?,
            pooled: row.try_get::<_, i32>("backend")? != announced,
            lacking,
            shape: row.try_get("shape")?,
        };
        Ok(Self { nature, listening: row.try_get("listening")? })
    }
}

impl Nature {
    /// Whether every watched table leaves tokens.
    pub(super) fn has_tokens(&self) -> bool {
        self.lacking.is_none()
    }

    /// Whether notifications can be asked for.
    pub(super) fn takes_listen(&self) -> bool {
        !self.standby && !self.pooled
    }

    /// How a worker keeps up with this server, and why not better. `wanted` says whether
    /// notifications are asked for at all, `listening` whether they are to be had.
    pub(super) fn mode(&self, wanted: bool, listening: bool) -> (Mode, Option<&'static str>) {
        match self.lacking {
            Some(Lacking::Table) => (Mode::Reload, Some("there is no table flagstaff_token")),
            Some(Lacking::Triggers) => {
                (Mode::Reload, Some("a table has no token trigger, or it is disabled"))
            }
            Some(Lacking::Replication) => {
                (Mode::Reload, Some("the tables are replicated without flagstaff_token"))
            }
            None if listening => (Mode::Live, None),
            None if !wanted => (Mode::Poll, Some("LISTEN is False")),
            None if self.pooled => (Mode::Poll, Some("a connection pooler is in between")),
            None if self.standby => (Mode::Poll, Some("the server is a standby")),
            None => (Mode::Poll, Some("the server refused LISTEN")),
        }
    }
}
