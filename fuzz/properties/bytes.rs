//! Bytes → the input of a property. Any bytes are valid, so that no input is wasted.

/// Bytes that are not used yet. Yields zeros after the last one.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u8) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first % limit
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Mostly a small number, sometimes one near the ends of the range.
    pub(crate) fn integer(&mut self) -> i64 {
        let small = i64::from(self.below(100));
        match self.below(8) {
            0 => i64::MIN + small,
            1 => i64::MAX - small,
            2 => -small,
            3 => small << self.below(64),
            _ => small,
        }
    }

    /// A rollout, not always a valid one.
    pub(crate) fn percent(&mut self) -> i32 {
        self.integer().clamp(i32::MIN.into(), i32::MAX.into()).try_into().expect("it fits")
    }

    /// One of a few texts, so that two are often equal, or any text.
    pub(crate) fn text(&mut self) -> String {
        match self.below(8) {
            0 => {
                let (text, rest) = self.0.split_at(self.0.len().min(usize::from(self.below(64))));
                let text = String::from_utf8_lossy(text).into_owned();
                self.0 = rest;
                text
            }
            number => number.to_string(),
        }
    }
}
