//! The rows of the fingerprint query → a fingerprint.

use tokio_postgres::{Error, Row};

use crate::fingerprint::Fingerprint;

pub(in crate::postgres) fn from_rows(rows: &[Row]) -> Result<Fingerprint, Error> {
    let mut fingerprint = Fingerprint::default();
    for row in rows {
        fingerprint.add(row.try_get("src")?, row.try_get("newest")?, row.try_get("sums")?);
    }
    Ok(fingerprint)
}
