//! The role that a server must have: `target_session_attrs`.

use tokio_postgres::Row;

use crate::postgres::connect::parameters::{Parameters, given};
use crate::postgres::error::Error;

/// Reads the role of a server.
pub(crate) const QUERY: &str = "SELECT pg_catalog.pg_is_in_recovery() AS standby, \
    pg_catalog.current_setting('transaction_read_only')::bool AS read_only";

/// A role that `target_session_attrs` requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Role {
    /// The role of these parameters.
    pub(crate) fn new(parameters: &Parameters) -> Result<Self, Error> {
        match given(parameters, "target_session_attrs").unwrap_or("any") {
            "any" => Ok(Self::Any),
            "read-write" => Ok(Self::ReadWrite),
            "read-only" => Ok(Self::ReadOnly),
            "primary" => Ok(Self::Primary),
            "standby" => Ok(Self::Standby),
            "prefer-standby" => Ok(Self::PreferStandby),
            value => {
                Err(Error::parameters(format!("target_session_attrs={value} is not supported")))
            }
        }
    }

    /// The roles to try in turn.
    pub(crate) const fn rounds(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// Checks a server by the row of [`QUERY`].
    pub(crate) fn check(self, row: &Row) -> Result<(), Error> {
        let failed = |error| Error::driver("connect", error);
        let standby = row.try_get("standby").map_err(failed)?;
        let read_only = row.try_get("read_only").map_err(failed)?;
        if self.allows(standby, read_only) { Ok(()) } else { Err(Error::role()) }
    }

    const fn allows(self, standby: bool, read_only: bool) -> bool {
        match self {
            Self::Any | Self::PreferStandby => true,
            Self::ReadWrite => !standby && !read_only,
            Self::ReadOnly => standby || read_only,
            Self::Primary => !standby,
            Self::Standby => standby,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefer_standby_tries_a_standby_first() {
        let parameters = [("target_session_attrs".to_owned(), "prefer-standby".to_owned())].into();
        let rounds = Role::new(&parameters).expect("a role").rounds();
        assert_eq!(rounds, [Role::Standby, Role::Any]);
        assert!(rounds[0].allows(true, true) && !rounds[0].allows(false, false));
    }

    #[test]
    fn read_only_primary_is_a_primary_and_not_read_write() {
        assert!(Role::Primary.allows(false, true) && !Role::ReadWrite.allows(false, true));
    }
}
