//! The rows of the token query → a token set.

use tokio_postgres::{Error, Row};

use crate::token_set::TokenSet;

/// The change tokens of a server at one point in time.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) token_set: TokenSet,
    /// Whether the server is a standby, which may be behind.
    pub(super) standby: bool,
}

pub(super) fn from_rows(rows: &[Row]) -> Result<Tokens, Error> {
    let mut tokens = Tokens::default();
    for row in rows {
        let token_set = &mut tokens.token_set;
        token_set.add(row.try_get("relation")?, row.try_get("newest")?, row.try_get("sums")?);
        let missing_at: Option<&str> = row.try_get("missing_at")?;
        token_set.add_missing(row.try_get("missing")?, missing_at.unwrap_or_default());
        token_set.set_nonce(row.try_get("nonce")?);
        tokens.standby = row.try_get("standby")?;
    }
    Ok(tokens)
}
