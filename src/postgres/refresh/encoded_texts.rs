//! The texts of a load in the encoding of the database, which the server decodes.
//!
//! One text that the server cannot decode fails the whole statement. So a failed batch is halved
//! until the undecodable texts are alone.

use std::collections::HashSet;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::rows;
use crate::postgres::queries::DECODE_TEXTS;
use crate::postgres::text::Decoder;

/// The bytes of a batch, unless a single text is longer: a failed batch is sent again.
const MAX_BATCH: usize = 1 << 20;

/// Whether the server could not decode a text.
pub(super) fn is_undecodable(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::UNTRANSLATABLE_CHARACTER | &SqlState::CHARACTER_NOT_IN_REPERTOIRE)
    )
}

/// Texts of which some are decoded.
#[derive(Debug)]
pub(super) struct EncodedTexts<'a> {
    batches: Vec<Vec<&'a [u8]>>,
    decoder: Decoder,
}

impl<'a> EncodedTexts<'a> {
    pub(super) fn new(texts: Vec<&'a [u8]>) -> Self {
        let distinct: HashSet<_> = texts.into_iter().collect();
        let mut batches = Vec::<Vec<&[u8]>>::new();
        let mut size = usize::MAX;
        for text in distinct {
            size = size.saturating_add(text.len());
            if size > MAX_BATCH {
                size = text.len();
                batches.push(Vec::new());
            }
            batches.last_mut().into_iter().for_each(|batch| batch.push(text));
        }
        Self { batches, decoder: Decoder::default() }
    }

    /// The next texts to decode, `None` after the last ones.
    pub(super) fn next_batch(&mut self) -> Option<Vec<&'a [u8]>> {
        self.batches.pop()
    }

    /// Takes the outcome of a batch.
    ///
    /// # Errors
    /// The error of the outcome, unless it is that a text cannot be decoded.
    pub(super) fn add(
        &mut self,
        batch: Vec<&'a [u8]>,
        outcome: Result<Vec<Row>, Error>,
    ) -> Result<(), Error> {
        let decoded = &mut self.decoder.decoded;
        match outcome {
            Ok(rows) => {
                for (encoded, row) in batch.into_iter().zip(rows) {
                    let text = std::str::from_utf8(row.try_get("decoded")?).ok();
                    decoded.insert(encoded.into(), text.map(Into::into));
                }
            }
            Err(error) if !is_undecodable(&error) => return Err(error),
            Err(_) if batch.len() == 1 => {
                decoded.extend(batch.into_iter().map(|text| (text.into(), None)));
            }
            Err(_) => {
                let (one, other) = batch.split_at(batch.len() / 2);
                self.batches.extend([one.to_vec(), other.to_vec()]);
            }
        }
        Ok(())
    }

    /// The decoder, once all texts are decoded.
    pub(super) fn into_decoder(self) -> Decoder {
        self.decoder
    }
}

/// Lets the server decode the texts of these rows.
pub(super) async fn decoder_of<'r>(
    client: &Client,
    rows: impl Iterator<Item = &'r Row>,
) -> Result<Decoder, Error> {
    let each = rows.map(rows::texts).collect::<Result<Vec<_>, _>>()?;
    let mut texts = EncodedTexts::new(each.concat());
    while let Some(batch) = texts.next_batch() {
        let parameters = [(&batch as &(dyn ToSql + Sync), Type::BYTEA_ARRAY)];
        let decoded = client.query_typed(DECODE_TEXTS, &parameters).await;
        texts.add(batch, decoded)?;
    }
    Ok(texts.into_decoder())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(texts: &[Vec<u8>]) -> Vec<usize> {
        let texts = texts.iter().map(Vec::as_slice).collect();
        EncodedTexts::new(texts).batches.iter().map(Vec::len).collect()
    }

    #[test]
    fn equal_texts_are_decoded_once() {
        assert_eq!(batches(&[vec![0x81], vec![0xe9], vec![0x81]]), [2]);
        assert!(batches(&[]).is_empty());
    }

    #[test]
    fn batches_are_limited_in_size() {
        let texts: Vec<_> = (0x80..0x90).map(|byte| vec![byte; MAX_BATCH / 4]).collect();
        assert_eq!(batches(&texts), [4, 4, 4, 4]);
        assert_eq!(batches(&[vec![0x81; 2 * MAX_BATCH], vec![0xe9; MAX_BATCH]]), [1, 1]);
    }
}
