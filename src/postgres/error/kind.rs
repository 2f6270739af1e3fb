//! The kinds of errors between a worker and its database.

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
    /// The log-in was refused: by the server, or because the engine cannot do what it asks for.
    Auth,
    /// The password has more SCRAM iterations than the driver computes.
    Iterations,
    /// The database does not exist (yet), or admits no connections.
    Database,
    /// The server, the database or the role has no connection left.
    TooMany,
    /// A table or column does not exist (yet).
    Missing,
    /// The role may not read a table.
    Permission,
    /// Row level security can hide rows of a table from the role.
    RowSecurity,
    /// The texts of the database are not UTF-8.
    Encoding,
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
