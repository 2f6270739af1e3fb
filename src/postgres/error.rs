//! What can go wrong between a worker and its database.
//!
//! An error keeps its cause as a value. Its text names no host, user or password, and of what the
//! server says only the SQLSTATE and what that means here: a server's message may quote data.

mod tls;

use std::error::Error as StdError;
use std::fmt;

use tokio_postgres::error::SqlState;

use self::tls::meaning;

/// What a caller may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A connection parameter is not understood or not supported.
    Parameters,
    /// The server could not be reached, or turned the connection down.
    Connect,
    /// The connection cannot be protected as the parameters ask.
    Tls,
    /// The server refused the log-in: user or password.
    Auth,
    /// The server has no such database (yet).
    Database,
    /// The server has no connection left for us.
    TooMany,
    /// A table or column is not there (yet).
    Missing,
    /// The role may not read a table.
    Permission,
    /// A table is locked by somebody else, such as a migration.
    Locked,
    /// The server did not answer in time.
    Deadline,
    /// The connection was lost.
    Lost,
    /// None of the servers has the role that is asked for.
    Role,
    /// A standby has not caught up with the snapshot that is held.
    Behind,
    /// Anything else that the server said no to.
    Query,
}

/// What went wrong between a worker and its database.
pub struct Error {
    kind: ErrorKind,
    doing: &'static str,
    detail: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    #[cold]
    pub(crate) fn parameters(detail: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Parameters,
            doing: "connect",
            detail: Some(detail.into()),
            source: None,
        }
    }

    /// A handshake that failed.
    #[cold]
    pub(crate) fn handshake(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        // A server that goes away amid a handshake says nothing about the protection.
        let meaning = meaning(&*source);
        let kind = if meaning.is_some() { ErrorKind::Tls } else { ErrorKind::Lost };
        let detail = meaning.map(str::to_owned);
        Self { kind, doing: "connect", detail, source: Some(source) }
    }

    /// The same error with its cause.
    #[cold]
    pub(crate) fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// None of the servers has the role that is asked for.
    #[cold]
    pub(crate) fn role() -> Self {
        Self { kind: ErrorKind::Role, doing: "connect", detail: None, source: None }
    }

    /// A standby that shows an older moment than the one that is held.
    #[cold]
    pub(crate) fn behind() -> Self {
        Self { kind: ErrorKind::Behind, doing: "load", detail: None, source: None }
    }

    /// Whether a server answered, and that is what went wrong.
    pub(crate) fn is_answer(&self) -> bool {
        !matches!(self.kind, ErrorKind::Connect | ErrorKind::Lost | ErrorKind::Deadline)
    }

    #[cold]
    pub(crate) fn deadline(doing: &'static str) -> Self {
        Self { kind: ErrorKind::Deadline, doing, detail: None, source: None }
    }

    #[cold]
    pub(crate) fn lost(doing: &'static str) -> Self {
        Self { kind: ErrorKind::Lost, doing, detail: None, source: None }
    }

    #[cold]
    pub(crate) fn connect(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let (doing, source) = ("connect", Some(source.into()));
        Self { kind: ErrorKind::Connect, doing, detail: None, source }
    }

    /// An error of the driver, met while `doing` something.
    #[cold]
    pub(crate) fn driver(doing: &'static str, source: tokio_postgres::Error) -> Self {
        if StdError::source(&source).is_some_and(<dyn StdError>::is::<Self>) {
            // What our side of a handshake had to say, carried through the driver.
            let ours = source.into_source().and_then(|error| error.downcast().ok());
            return ours.map_or_else(|| Self::lost(doing), |error| *error);
        }
        if doing == "connect" && meaning(&source).is_some() {
            return Self::handshake(source);
        }
        let kind = kind_of(doing, &source);
        let detail = source.as_db_error().and_then(|error| error.table().map(str::to_owned));
        Self { kind, doing, detail, source: Some(Box::new(source)) }
    }

    /// What a caller may branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The SQLSTATE that the server gave, if it was the server.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        let source = self.source.as_ref()?.downcast_ref::<tokio_postgres::Error>()?;
        source.code().map(SqlState::code)
    }

    /// The operating system's word for it ("connection refused"), if it was not the server.
    fn system(&self) -> Option<String> {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&**self.source.as_ref()?);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return Some(error.kind().to_string());
            }
            cause = error.source();
        }
        None
    }

    fn meaning(&self) -> &'static str {
        match self.kind {
            ErrorKind::Parameters => "the connection parameters cannot be used",
            ErrorKind::Connect => "the server cannot be reached",
            ErrorKind::Tls => "the connection cannot be protected as it should be",
            ErrorKind::Auth => "the log-in was refused, see USER and PASSWORD in DATABASES",
            ErrorKind::Database => "there is no such database, see NAME in DATABASES",
            ErrorKind::TooMany => {
                "the server has no connection left, see its max_connections, and CONNECTION LIMIT \
                    of the role and the database"
            }
            ErrorKind::Missing => "a table or column is missing, run \"manage.py migrate\"",
            ErrorKind::Permission => "the role may not read a table, GRANT SELECT on it",
            ErrorKind::Locked => "a table is locked by somebody else",
            ErrorKind::Deadline => "the server did not answer in time",
            ErrorKind::Lost => "the connection was lost",
            ErrorKind::Role => "no server is what target_session_attrs asks for",
            ErrorKind::Behind => {
                "the standby is behind, MAX_STALENESS says how long it is not taken"
            }
            ErrorKind::Query => "the server refused a statement",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.meaning())?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(code) = self.sqlstate() {
            write!(f, " (SQLSTATE {code})")?;
        } else if let Some(system) = self.system().filter(|_| self.kind != ErrorKind::Tls) {
            write!(f, " ({system})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    /// What `Display` says, in parts. The driver's error below it has the server's message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, doing, detail, source: _ } = self;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("doing", doing)
            .field("detail", detail)
            .field("sqlstate", &self.sqlstate())
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn kind_of(doing: &str, error: &tokio_postgres::Error) -> ErrorKind {
    let Some(code) = error.code() else {
        return if doing == "connect" { ErrorKind::Connect } else { ErrorKind::Lost };
    };
    match *code {
        SqlState::TOO_MANY_CONNECTIONS => ErrorKind::TooMany,
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            ErrorKind::Auth
        }
        SqlState::INVALID_CATALOG_NAME => ErrorKind::Database,
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::INVALID_SCHEMA_NAME => {
            ErrorKind::Missing
        }
        SqlState::INSUFFICIENT_PRIVILEGE => ErrorKind::Permission,
        SqlState::LOCK_NOT_AVAILABLE => ErrorKind::Locked,
        SqlState::QUERY_CANCELED => ErrorKind::Deadline,
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => ErrorKind::Lost,
        SqlState::CANNOT_CONNECT_NOW => ErrorKind::Connect,
        _ => ErrorKind::Query,
    }
}
