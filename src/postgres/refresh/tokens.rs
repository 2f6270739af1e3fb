//! The rows of the token set query → the tokens of a server.

use tokio_postgres::{Error, Row};

use crate::token_set::TokenSet;

/// The token table of a server at one moment.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// What the set of tokens looks like.
    pub(crate) token_set: TokenSet,
    /// Whether it is that of a standby, which may be behind.
    pub(crate) standby: bool,
}

pub(crate) fn from_rows(rows: &[Row]) -> Result<Tokens, Error> {
    let mut tokens = Tokens::default();
    for row in rows {
        let token_set = &mut tokens.token_set;
        token_set.add(row.try_get("relation")?, row.try_get("newest")?, row.try_get("sums")?);
        token_set.set_nonce(row.try_get("nonce")?);
        tokens.standby = row.try_get("standby")?;
    }
    Ok(tokens)
}
