//! How the tables of a subscriber arrive by logical replication.

use tokio_postgres::Row;

use crate::message::Message;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::texts;

/// The subscription that the token table is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// Why its tokens do not prove that the rows have arrived.
    pub(super) lacking: Option<Message>,
    /// Whether the echo arrives by it, too.
    pub(super) has_echo: bool,
    /// Whether a trigger notifies of each token that arrives.
    pub(super) notifies: bool,
}

impl Subscription {
    /// Reads a row of `subscription_v1.sql`.
    pub(super) fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let name: Option<&str> = row.try_get("subscription")?;
        let enabled: Option<bool> = row.try_get("enabled")?;
        let apart: Option<&str> = row.try_get("apart")?;
        let copying: Option<&str> = row.try_get("copying")?;
        let lacking = match (name, apart, copying) {
            (None, ..) => Some((&texts::REPLICATED).into()),
            (_, Some(tables), _) => Some(texts::REPLICATED_APART.with([("tables", tables.into())])),
            (Some(name), ..) if enabled != Some(true) => {
                Some(texts::SUBSCRIPTION_DISABLED.with([("name", name.into())]))
            }
            (.., Some(tables)) => Some(texts::COPYING.with([("tables", tables.into())])),
            (.., None) => None,
        };
        let (has_echo, notifies) = (row.try_get("has_echo")?, row.try_get("notifies")?);
        Ok(Self { lacking, has_echo, notifies })
    }

    /// Why the echo does not arrive by it; `None` if it does.
    pub(super) fn lacking_echo(&self) -> Option<Message> {
        let reason = || self.lacking.clone().unwrap_or_else(|| (&texts::ECHO_NOT_PUBLISHED).into());
        (!self.has_echo).then(reason)
    }

    /// What is known if the server refuses to say it.
    ///
    /// # Errors
    /// If it is not a refusal.
    pub(super) fn refused(error: Error) -> Result<Self, Error> {
        match error.kind() {
            ErrorKind::Query | ErrorKind::Permission | ErrorKind::Missing => {
                let lacking = Some((&texts::SUBSCRIPTION_HIDDEN).into());
                Ok(Self { lacking, has_echo: false, notifies: false })
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_without_the_echo_says_first_what_else_it_lacks() {
        let alone = Subscription { lacking: None, has_echo: false, notifies: true };
        assert_eq!(alone.lacking_echo(), Some((&texts::ECHO_NOT_PUBLISHED).into()));
        let hidden = Some((&texts::SUBSCRIPTION_HIDDEN).into());
        assert_eq!(Subscription { lacking: hidden.clone(), ..alone }.lacking_echo(), hidden);
    }
}
