//! What can go wrong between a worker and its database.
//!
//! An error keeps its cause as a value. Its text names no host, user or password. Of the server's
//! reply it shows only the SQLSTATE and its meaning here: the server's message may quote data.

mod kind;
mod login;
mod tls;

use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;

use nix::errno::Errno;
use tokio_postgres::error::{DbError, SqlState};

pub use self::kind::ErrorKind;
use self::login::refusal;
use self::tls::meaning;
use crate::message::{Message, Template};
use crate::postgres::texts;

/// The SQLSTATE of a standby, and of a role that may only read.
pub(crate) const READ_ONLY: &str = "25006";

/// What went wrong between a worker and its database.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    doing: &'static str,
    /// Why the connection cannot be protected, or the log-in was refused.
    problem: Option<&'static Template>,
    /// The parameter with its error, or the names of tables.
    detail: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    #[cold]
    fn new(kind: ErrorKind, doing: &'static str) -> Self {
        Self { kind, doing, problem: None, detail: None, source: None }
    }

    #[cold]
    pub(crate) fn parameters(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(ErrorKind::Parameters, "connect") }
    }

    /// A failed handshake.
    #[cold]
    pub(crate) fn handshake(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        // A server that disconnects during the handshake has not refused the protection.
        let problem = meaning(&*source);
        let kind = if problem.is_some() { ErrorKind::Tls } else { ErrorKind::Lost };
        Self { problem, ..Self::new(kind, "connect") }.because(source)
    }

    /// Adds the cause.
    #[cold]
    pub(crate) fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into().into()), ..self }
    }

    /// No server has the required role.
    #[cold]
    pub(crate) fn role() -> Self {
        Self::new(ErrorKind::Role, "connect")
    }

    /// Row level security can hide rows of these tables.
    #[cold]
    pub(crate) fn row_security(doing: &'static str, tables: String) -> Self {
        Self { detail: Some(tables), ..Self::new(ErrorKind::RowSecurity, doing) }
    }

    /// The database has this encoding.
    #[cold]
    pub(crate) fn encoding(doing: &'static str, encoding: String) -> Self {
        Self { detail: Some(encoding), ..Self::new(ErrorKind::Encoding, doing) }
    }

    /// A standby is behind the current snapshot.
    #[cold]
    pub(crate) fn behind() -> Self {
        Self::new(ErrorKind::Behind, "load")
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
        Self::new(ErrorKind::Deadline, doing)
    }

    #[cold]
    pub(crate) fn lost(doing: &'static str) -> Self {
        Self::new(ErrorKind::Lost, doing)
    }

    /// The process has reached a limit of the operating system.
    #[cold]
    pub(crate) fn resources(doing: &'static str, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Resources, doing).because(source)
    }

    /// A socket cannot be opened or connected.
    #[cold]
    pub(crate) fn socket(source: std::io::Error) -> Self {
        let kind = if is_limit(&source) { ErrorKind::Resources } else { ErrorKind::Connect };
        Self::new(kind, "connect").because(source)
    }

    /// An error of the driver while `doing` something.
    #[cold]
    #[must_use]
    pub fn driver(doing: &'static str, source: tokio_postgres::Error) -> Self {
        if StdError::source(&source).is_some_and(<dyn StdError>::is::<Self>) {
            // Our own error during the handshake, which the driver wraps.
            let ours = source.into_source().and_then(|error| error.downcast().ok());
            return ours.map_or_else(|| Self::lost(doing), |error| *error);
        }
        if doing == "connect" && meaning(&source).is_some() {
            return Self::handshake(source);
        }
        if let Some((kind, problem)) = refusal(&source) {
            return Self { problem: Some(problem), ..Self::new(kind, doing) }.because(source);
        }
        let detail = source.as_db_error().and_then(|error| error.table().map(str::to_owned));
        Self { detail, ..Self::new(kind_of(doing, &source), doing) }.because(source)
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The SQLSTATE, if the error is the server's.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.reply().map(|reply| reply.code().code())
    }

    /// What the server, or a pooler, has replied.
    fn reply(&self) -> Option<&DbError> {
        self.source.as_ref()?.downcast_ref::<tokio_postgres::Error>()?.as_db_error()
    }

    /// Whether a pooler refuses transactions. It has one SQLSTATE for all, and is not translated.
    fn is_of_statement_pooling(&self) -> bool {
        self.reply().is_some_and(|reply| reply.message().contains("statement pooling mode"))
    }

    /// The operating system's text ("connection refused"), if the error is not the server's.
    fn system(&self) -> Option<String> {
        // It would say less, such as "operation would block" for a limit of the process.
        if self.problem.is_some() || self.kind == ErrorKind::Resources {
            return None;
        }
        system_error(&**self.source.as_ref()?).map(|error| error.kind().to_string())
    }

    fn template(&self) -> &'static Template {
        match self.kind {
            ErrorKind::Tls => &texts::TLS,
            _ if self.problem.is_some() => &texts::LOGIN,
            ErrorKind::Missing | ErrorKind::Permission | ErrorKind::Query
                if self.doing == "connect" =>
            {
                &texts::REFUSED
            }
            ErrorKind::Parameters => &texts::PARAMETERS,
            ErrorKind::Connect => &texts::CONNECT,
            ErrorKind::Resources => &texts::RESOURCES,
            ErrorKind::Missing => &texts::MISSING,
            ErrorKind::Permission => &texts::PERMISSION,
            ErrorKind::RowSecurity => &texts::ROW_SECURITY,
            ErrorKind::Encoding => &texts::ENCODING,
            ErrorKind::Locked => &texts::LOCKED,
            ErrorKind::Deadline => &texts::DEADLINE,
            ErrorKind::Lost => &texts::LOST,
            ErrorKind::Role => &texts::ROLE,
            ErrorKind::Behind => &texts::BEHIND,
            ErrorKind::Query if self.is_of_statement_pooling() => &texts::STATEMENT_POOLING,
            // The others have a problem.
            _ => &texts::QUERY,
        }
    }

    /// What went wrong: a code for each kind.
    #[must_use]
    pub fn message(&self) -> Message {
        let step = ("step", self.doing.into());
        let detail = self.detail.as_ref().map(|detail| format!(": {detail}"));
        let cause = match self.sqlstate() {
            Some(state) => Some(format!(" (SQLSTATE {state})")),
            None => self.system().map(|system| format!(" ({system})")),
        };
        let details: String = [detail, cause].into_iter().flatten().collect();
        let details = ("details", details.into());
        match self.problem {
            Some(problem) => self.template().with([step, ("problem", problem.into()), details]),
            None => self.template().with([step, details]),
        }
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
        let Self { kind, doing, problem, detail, source: _ } = self;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("doing", doing)
            .field("problem", &problem.map(|problem| problem.english))
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
            _ if doing == "connect" => ErrorKind::Connect,
            _ => ErrorKind::Lost,
        };
    };
    // The name of the server's C function, which unlike its message is not translated.
    if error.as_db_error().and_then(DbError::routine) == Some("check_enable_rls") {
        return ErrorKind::RowSecurity;
    }
    match *code {
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::INVALID_SCHEMA_NAME => {
            ErrorKind::Missing
        }
        SqlState::INSUFFICIENT_PRIVILEGE => ErrorKind::Permission,
        SqlState::LOCK_NOT_AVAILABLE => ErrorKind::Locked,
        SqlState::QUERY_CANCELED => ErrorKind::Deadline,
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => ErrorKind::Lost,
        _ => ErrorKind::Query,
    }
}
