//! Bytes → whatever a property needs. Any bytes make something, so that none is wasted.

/// Bytes that nobody has looked at yet. Once there are none left, zeros come.
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

    pub(crate) fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Small ones mostly, and the ends of the range.
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

    /// A rollout, not always one that there can be.
    pub(crate) fn percent(&mut self) -> i32 {
        self.integer().clamp(i32::MIN.into(), i32::MAX.into()).try_into().expect("it fits")
    }

    /// One of a few, so that two are often the same, or any text.
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
