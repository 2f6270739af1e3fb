//! What a refused log-in means, and which setting it is about.

use std::error::Error as StdError;
use std::iter::successors;

use tokio_postgres::error::DbError;

use super::kind::ErrorKind;
use crate::message::Template;
use crate::postgres::texts;

/// A sign of the refusal, the server's function, and what they mean. The first match counts.
///
/// The sign is the driver's text or the SQLSTATE. The function, empty for any, tells apart the
/// causes of one SQLSTATE: it is written in C, so unlike the message its name is not translated.
static REFUSALS: &[(&str, &str, ErrorKind, &Template)] = &[
    ("password missing", "", ErrorKind::Auth, &texts::NO_PASSWORD),
    ("unsupported authentication method", "", ErrorKind::Auth, &texts::METHOD),
    ("unsupported SASL mechanism", "", ErrorKind::Auth, &texts::METHOD),
    (
        "SCRAM iteration count exceeds the maximum allowed",
        "",
        ErrorKind::Iterations,
        &texts::ITERATIONS,
    ),
    ("28P01", "", ErrorKind::Auth, &texts::PASSWORD),
    ("28000", "ClientAuthentication", ErrorKind::Auth, &texts::NO_RULE),
    ("28000", "InitializeSessionUserId", ErrorKind::Auth, &texts::NO_LOGIN),
    ("28000", "", ErrorKind::Auth, &texts::OTHER_METHOD),
    ("42501", "CheckMyDatabase", ErrorKind::Auth, &texts::MAY_NOT_CONNECT),
    ("3D000", "", ErrorKind::Database, &texts::NO_DATABASE),
    ("55000", "CheckMyDatabase", ErrorKind::Database, &texts::CLOSED_DATABASE),
    ("53300", "InitializeSessionUserId", ErrorKind::TooMany, &texts::ROLE_FULL),
    ("53300", "CheckMyDatabase", ErrorKind::TooMany, &texts::DATABASE_FULL),
    ("53300", "", ErrorKind::TooMany, &texts::SERVER_FULL),
    ("57P03", "", ErrorKind::Connect, &texts::NOT_READY),
];

/// The kind and the meaning of a refused log-in; `None` for other errors.
pub(super) fn refusal(error: &tokio_postgres::Error) -> Option<(ErrorKind, &'static Template)> {
    let server = error.as_db_error();
    let function = server.and_then(DbError::routine).unwrap_or_default();
    let sign = match server {
        Some(server) => server.code().code().to_owned(),
        None => successors(StdError::source(error), |error| (**error).source()).last()?.to_string(),
    };
    let mut refusals = REFUSALS.iter();
    let found = refusals.find(|(of, by, ..)| *of == sign && (by.is_empty() || *by == function));
    found.map(|&(_, _, kind, meaning)| (kind, meaning))
}
