//! The statements that every load and poll of a session repeats, parsed and planned once.
//!
//! Only those that read the catalog and the token table: a prepared statement that reads a table of
//! the project would fail after the type of a column has changed.

use std::cell::OnceCell;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

/// The statements that a session has prepared, with their texts. Empty if a pooler shares the
/// session, or if it is used once.
#[derive(Debug, Default)]
pub(super) struct Statements(OnceCell<Vec<(String, Statement)>>);

impl Statements {
    /// Whether this statement is prepared.
    pub(super) fn contain(&self, text: &str) -> bool {
        self.0.get().into_iter().flatten().any(|(known, _)| known == text)
    }
}

/// A client, and what its session has prepared.
#[derive(Clone, Copy)]
pub(super) struct PreparedClient<'a> {
    pub(super) client: &'a Client,
    pub(super) statements: &'a Statements,
}

impl PreparedClient<'_> {
    /// Prepares these statements with the types of their parameters.
    pub(super) async fn prepare(self, texts: &[(&str, &[Type])]) -> Result<(), Error> {
        let mut prepared = Vec::new();
        for (text, types) in texts {
            prepared.push(((*text).into(), self.client.prepare_typed(text, types).await?));
        }
        let _ = self.statements.0.set(prepared);
        Ok(())
    }

    /// Runs a statement and returns its rows. Uses the prepared statement if there is one.
    pub(super) async fn query(
        self,
        text: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        let mut prepared = self.statements.0.get().into_iter().flatten();
        match prepared.find(|(known, _)| known == text) {
            Some((_, statement)) => {
                let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
                self.client.query(statement, &values).await
            }
            None => self.client.query_typed(text, parameters).await,
        }
    }
}
