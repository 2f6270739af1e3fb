//! The rows of the fingerprint query → the tokens of a server.

use tokio_postgres::{Error, Row};

use crate::fingerprint::Fingerprint;

/// The token table of a server at one moment.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Tokens {
    /// What the set of tokens looks like.
    pub(in crate::postgres) fingerprint: Fingerprint,
    /// Whether it is that of a standby, which may be behind.
    pub(in crate::postgres) standby: bool,
}

pub(in crate::postgres) fn from_rows(rows: &[Row]) -> Result<Tokens, Error> {
    let mut tokens = Tokens::default();
    for row in rows {
        let fingerprint = &mut tokens.fingerprint;
        fingerprint.add(row.try_get("relation")?, row.try_get("newest")?, row.try_get("sums")?);
        fingerprint.set_nonce(row.try_get("nonce")?);
        tokens.standby = row.try_get("standby")?;
    }
    Ok(tokens)
}
