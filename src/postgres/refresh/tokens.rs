//! The rows of the queries of tokens → what they say.

use tokio_postgres::{Error, Row};

use crate::token_set::TokenSet;
use crate::token_set::changes::{MAX_NEW_TOKENS, NewToken};

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
        if let Some(barrier) = row.try_get("newest_asking")? {
            token_set.set_newest_asking(barrier);
        }
        let missing_at: Option<&str> = row.try_get("missing_at")?;
        token_set.add_missing(row.try_get("missing")?, missing_at.unwrap_or_default());
        token_set.set_nonce(row.try_get("nonce")?);
        tokens.standby = row.try_get("standby")?;
    }
    Ok(tokens)
}

/// The tokens that were added since a load; `None` if they are too many, or if one cannot be read.
pub(super) fn new_from_rows(rows: &[Row]) -> Result<Option<Vec<NewToken>>, Error> {
    if rows.len() > MAX_NEW_TOKENS {
        return Ok(None);
    }
    rows.iter().map(new_token).collect()
}

fn new_token(row: &Row) -> Result<Option<NewToken>, Error> {
    let keys: Option<Vec<Option<&str>>> = row.try_get("keys")?;
    let keys = keys.and_then(|keys| keys.into_iter().map(|key| Some(key?.into())).collect());
    let removed: Vec<&str> = row.try_get("removed")?;
    Ok(NewToken::parse(row.try_get("relation")?, row.try_get("sums")?, keys, removed))
}
