//! What a server says about itself, and the refresh mode that follows.

use tokio_postgres::Row;

use super::subscription::Subscription;
use crate::message::Message;
use crate::postgres::error::Error;
use crate::postgres::status::RefreshMode;
use crate::postgres::texts;

/// Why there are no change tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lacking {
    Table,
    /// The names of the tables without a token trigger, if they exist.
    Triggers(Option<String>),
    /// The names of the functions that are not those that were installed.
    Functions(String),
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerInfo {
    /// A standby does not support LISTEN, and may be behind.
    pub(super) standby: bool,
    /// Whether a connection pooler is in between, which shares the session with other clients.
    pub(super) pooled: bool,
    /// The oid of the token table, if it exists.
    pub(super) token_table: Option<u32>,
    lacking: Option<Lacking>,
    /// How rows or tokens arrive by logical replication, if they do.
    pub(super) subscription: Option<Subscription>,
    /// The arguments of the token triggers, each followed by a zero byte.
    pub(super) key_arguments: Vec<Vec<u8>>,
    /// The triggers and tables, as text that is compared for equality.
    shape: String,
}

/// Where a worker reads the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Standby,
    Subscriber,
}

/// What a server says about itself and about the session.
#[derive(Debug)]
pub(super) struct Identification {
    pub(super) server: ServerInfo,
    /// Whether rows or tokens arrive by logical replication.
    pub(super) subscribed: bool,
    /// Whether the session receives notifications.
    pub(super) listening: bool,
    /// The oids of the watched tables, and of those that inherit from them.
    pub(super) tables: Vec<u32>,
    /// The triggers and tables as a load sees them, compared for equality.
    pub(super) catalog: Option<i64>,
    /// The oids of the token tables of other projects in this database.
    pub(super) other_token_tables: Vec<u32>,
    /// The tables of which row level security can hide rows.
    hidden: Option<String>,
    /// The encoding of the database, unless it is UTF-8.
    encoding: Option<String>,
}

impl Identification {
    /// Reads a row of `identify`. `announced_pid` is the process id that the client was given.
    pub(super) fn from_row(row: &Row, announced_pid: i32) -> Result<Self, tokio_postgres::Error> {
        let lacking = match row.try_get("lacking")? {
            None => None,
            Some("table") => Some(Lacking::Table),
            Some("functions") => Some(Lacking::Functions(row.try_get("lacking_in")?)),
            Some(_) => Some(Lacking::Triggers(row.try_get("lacking_in")?)),
        };
        let server = ServerInfo {
            standby: row.try_get("standby")?,
            pooled: row.try_get::<_, i32>("backend")? != announced_pid,
            token_table: row.try_get("token_table")?,
            lacking,
            subscription: None,
            key_arguments: row.try_get("key_arguments")?,
            shape: row.try_get("shape")?,
        };
        let subscribed = row.try_get("subscribed")?;
        let (listening, hidden) = (row.try_get("listening")?, row.try_get("hidden")?);
        let encoding = row.try_get("encoding")?;
        let other_token_tables = row.try_get("other_token_tables")?;
        let (tables, catalog) = (row.try_get("tables")?, row.try_get("catalog")?);
        Ok(Self {
            server,
            subscribed,
            listening,
            tables,
            catalog,
            other_token_tables,
            hidden,
            encoding,
        })
    }

    /// Refuses a server that hides rows: tokens and flags would seem to be gone. And one whose texts
    /// are not UTF-8: a single one that cannot be decoded would fail every load.
    pub(super) fn checked(self, doing: &'static str) -> Result<Self, Error> {
        match (self.encoding, self.hidden) {
            (Some(encoding), _) => Err(Error::encoding(doing, encoding)),
            (None, Some(tables)) => Err(Error::row_security(doing, tables)),
            (None, None) => Ok(Self { hidden: None, encoding: None, ..self }),
        }
    }
}

impl Lacking {
    fn reason(&self) -> Message {
        match self {
            Self::Table => (&texts::NO_TOKEN_TABLE).into(),
            Self::Triggers(None) => (&texts::NO_TRIGGER).into(),
            Self::Triggers(Some(tables)) => {
                texts::NO_TRIGGERS_ON.with([("tables", tables.as_str().into())])
            }
            Self::Functions(names) => {
                texts::REPLACED_FUNCTIONS.with([("names", names.as_str().into())])
            }
        }
    }
}

impl ServerInfo {
    /// Why there are no change tokens that prove which changes a load has.
    fn lacking(&self) -> Option<Message> {
        let of_subscription = self.subscription.as_ref().and_then(|it| it.lacking.clone());
        self.lacking.as_ref().map(Lacking::reason).or(of_subscription)
    }

    /// Whether every watched table leaves change tokens.
    pub(super) fn has_tokens(&self) -> bool {
        self.lacking().is_none()
    }

    /// Whether tokens name every row that changed, if there are tokens. The transactions of a publisher
    /// have other numbers.
    pub(super) fn names_rows(&self) -> bool {
        self.subscription.is_none()
    }

    /// Whether the flags are a copy of those of another server.
    pub(super) fn is_behind_replication(&self) -> bool {
        self.standby || self.subscription.is_some()
    }

    pub(super) fn role(&self) -> Role {
        match (self.standby, &self.subscription) {
            (true, _) => Role::Standby,
            (false, Some(_)) => Role::Subscriber,
            (false, None) => Role::Primary,
        }
    }

    /// Whether the session can receive notifications.
    pub(super) fn supports_listen(&self) -> bool {
        !self.standby && !self.pooled
    }

    /// The refresh mode with this server, and why it is not `Live`. `wanted` is the LISTEN setting,
    /// `listening` whether notifications arrive.
    pub(super) fn mode(&self, wanted: bool, listening: bool) -> (RefreshMode, Option<Message>) {
        if let Some(lacking) = self.lacking() {
            return (RefreshMode::Reload, Some(lacking));
        }
        let notifies = self.subscription.as_ref().is_none_or(|it| it.notifies);
        let reason = match () {
            () if listening && notifies => return (RefreshMode::Live, None),
            () if listening => &texts::NOT_NOTIFIED,
            () if !wanted => &texts::LISTEN_OFF,
            () if self.pooled => &texts::POOLER,
            () if self.standby => &texts::STANDBY,
            () => &texts::LISTEN_REFUSED,
        };
        (RefreshMode::Poll, Some(reason.into()))
    }
}
