//! What can go wrong between a worker and its database.
//!
//! An error keeps its cause as a value. Its text names no host, user or password. Of the server's
//! reply it shows only the SQLSTATE and its meaning here: the server's message may quote data.

mod tls;

use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;

use nix::errno::Errno;
use tokio_postgres::error::{DbError, SqlState};

use self::tls::meaning;
use crate::message::{Message, Template, Value};
use crate::postgres::texts;

/// The driver's text for a password that would take it too long.
const TOO_MANY_ITERATIONS: &str = "SCRAM iteration count exceeds the maximum allowed";

/// The kind of an error, which callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A connection parameter is not understood or not supported.
    Parameters,
    /// The server could not be reached, or refused the connection.
    Connect,
    /// The process cannot start a thread or open a descriptor.
    Resources,
    /// The connection cannot be protected as the parameters require.
    Tls,
    /// The server refused the log-in: user or password.
    Auth,
    /// The password has more SCRAM iterations than the driver computes.
    Iterations,
    /// The database does not exist (yet).
    Database,
    /// The server has no connection left.
    TooMany,
    /// A table or column does not exist (yet).
    Missing,
    /// The role may not read a table.
    Permission,
    /// Row level security can hide rows of a table from the role.
    RowSecurity,
    /// Another session, such as a migration, holds a lock on a table.
    Locked,
    /// The deadline has passed.
    Deadline,
    /// The connection was lost.
    Lost,
    /// No server has the required role.
    Role,
    /// A standby is behind the current snapshot.
    Behind,
    /// The server refused a statement for another reason.
    Query,
}

/// What went wrong between a worker and its database.
pub struct Error {
    kind: ErrorKind,
    doing: &'static str,
    /// The driver's or the server's text, or why the connection cannot be protected.
    detail: Option<Value>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    #[cold]
    pub(crate) fn parameters(detail: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Parameters,
            doing: "connect",
            detail: Some(detail.into().into()),
            source: None,
        }
    }

    /// A failed handshake.
    #[cold]
    pub(crate) fn handshake(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        // A server that disconnects during the handshake has not refused the protection.
        let meaning = meaning(&*source);
        let kind = if meaning.is_some() { ErrorKind::Tls } else { ErrorKind::Lost };
        let detail = meaning.map(Value::from);
        Self { kind, doing: "connect", detail, source: Some(source) }
    }

    /// Adds the cause.
    #[cold]
    pub(crate) fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// No server has the required role.
    #[cold]
    pub(crate) fn role() -> Self {
        Self { kind: ErrorKind::Role, doing: "connect", detail: None, source: None }
    }

    /// Row level security can hide rows of these tables.
    #[cold]
    pub(crate) fn row_security(doing: &'static str, tables: String) -> Self {
        Self { kind: ErrorKind::RowSecurity, doing, detail: Some(tables.into()), source: None }
    }

    /// A standby is behind the current snapshot.
    #[cold]
    pub(crate) fn behind() -> Self {
        Self { kind: ErrorKind::Behind, doing: "load", detail: None, source: None }
    }

    /// Whether a server has replied, as opposed to one that cannot be reached.
    pub(crate) fn is_reply(&self) -> bool {
        !matches!(
            self.kind,
            ErrorKind::Connect | ErrorKind::Resources | ErrorKind::Lost | ErrorKind::Deadline
        )
    }

    #[cold]
    pub(crate) fn deadline(doing: &'static str) -> Self {
        Self { kind: ErrorKind::Deadline, doing, detail: None, source: None }
    }

    #[cold]
    pub(crate) fn lost(doing: &'static str) -> Self {
        Self { kind: ErrorKind::Lost, doing, detail: None, source: None }
    }

    /// The process has reached a limit of the operating system.
    #[cold]
    pub(crate) fn resources(doing: &'static str, source: std::io::Error) -> Self {
        Self { kind: ErrorKind::Resources, doing, detail: None, source: Some(Box::new(source)) }
    }

    /// A socket cannot be opened or connected.
    #[cold]
    pub(crate) fn socket(source: std::io::Error) -> Self {
        let kind = if is_limit(&source) { ErrorKind::Resources } else { ErrorKind::Connect };
        Self { kind, doing: "connect", detail: None, source: Some(Box::new(source)) }
    }

    /// An error of the driver while `doing` something.
    #[cold]
    pub(crate) fn driver(doing: &'static str, source: tokio_postgres::Error) -> Self {
        if StdError::source(&source).is_some_and(<dyn StdError>::is::<Self>) {
            // Our own error during the handshake, which the driver wraps.
            let ours = source.into_source().and_then(|error| error.downcast().ok());
            return ours.map_or_else(|| Self::lost(doing), |error| *error);
        }
        if doing == "connect" && meaning(&source).is_some() {
            return Self::handshake(source);
        }
        let kind = kind_of(doing, &source);
        let detail = source.as_db_error().and_then(|error| error.table().map(Value::from));
        Self { kind, doing, detail, source: Some(Box::new(source)) }
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The SQLSTATE, if the error is the server's.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        let source = self.source.as_ref()?.downcast_ref::<tokio_postgres::Error>()?;
        source.code().map(SqlState::code)
    }

    /// The operating system's text ("connection refused"), if the error is not the server's.
    fn system(&self) -> Option<String> {
        // It would say less, such as "operation would block" for a limit of the process.
        if matches!(self.kind, ErrorKind::Tls | ErrorKind::Resources | ErrorKind::Iterations) {
            return None;
        }
        system_error(&**self.source.as_ref()?).map(|error| error.kind().to_string())
    }

    fn template(&self) -> &'static Template {
        match self.kind {
            ErrorKind::Parameters => &texts::PARAMETERS,
            ErrorKind::Connect => &texts::CONNECT,
            ErrorKind::Resources => &texts::RESOURCES,
            ErrorKind::Tls => &texts::TLS,
            ErrorKind::Auth => &texts::AUTH,
            ErrorKind::Iterations => &texts::ITERATIONS,
            ErrorKind::Database => &texts::DATABASE,
            ErrorKind::TooMany => &texts::TOO_MANY,
            ErrorKind::Missing => &texts::MISSING,
            ErrorKind::Permission => &texts::PERMISSION,
            ErrorKind::RowSecurity => &texts::ROW_SECURITY,
            ErrorKind::Locked => &texts::LOCKED,
            ErrorKind::Deadline => &texts::DEADLINE,
            ErrorKind::Lost => &texts::LOST,
            ErrorKind::Role => &texts::ROLE,
            ErrorKind::Behind => &texts::BEHIND,
            ErrorKind::Query => &texts::QUERY,
        }
    }

    /// What went wrong: a code for each kind.
    #[must_use]
    pub fn message(&self) -> Message {
        let step = ("step", self.doing.into());
        if let (ErrorKind::Tls, Some(problem)) = (self.kind, &self.detail) {
            return self.template().with([step, ("problem", problem.clone())]);
        }
        let detail = self.detail.as_ref().map(|detail| format!(": {detail}"));
        let cause = match self.sqlstate() {
            Some(state) => Some(format!(" (SQLSTATE {state})")),
            None => self.system().map(|system| format!(" ({system})")),
        };
        let details: String = [detail, cause].into_iter().flatten().collect();
        self.template().with([step, ("details", details.into())])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)
    }
}

impl fmt::Debug for Error {
    /// The parts of `Display`, without the driver's error, which holds the server's message.
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

/// The operating system's error among the causes of `error`.
fn system_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a std::io::Error> {
    let mut causes = successors(Some(error), |error| (**error).source());
    causes.find_map(|error| error.downcast_ref())
}

/// Whether the process or the machine has no descriptor left.
fn is_limit(error: &std::io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EMFILE | Errno::ENFILE))
}

fn kind_of(doing: &str, error: &tokio_postgres::Error) -> ErrorKind {
    let Some(code) = error.code() else {
        return match system_error(error) {
            Some(error) if is_limit(error) => ErrorKind::Resources,
            Some(error) if error.to_string() == TOO_MANY_ITERATIONS => ErrorKind::Iterations,
            _ if doing == "connect" => ErrorKind::Connect,
            _ => ErrorKind::Lost,
        };
    };
    // The name of the server's C function, which unlike its message is not translated.
    if error.as_db_error().and_then(DbError::routine) == Some("check_enable_rls") {
        return ErrorKind::RowSecurity;
    }
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
