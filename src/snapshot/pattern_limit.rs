//! A limit for the patterns of all rules and segments: a short text can compile to much memory, and
//! the compilation of many would delay a load, and with it a kill.

use std::cell::{Cell, OnceCell};

use crate::row::{Fault, MAX_PATTERNS};

/// The number of patterns in the next snapshot, as far as it is built.
pub(super) struct PatternLimit<'a> {
    /// Counts those of the snapshot before. Called if it is needed: most projects have none.
    before: &'a dyn Fn() -> usize,
    used: OnceCell<Cell<usize>>,
}

impl<'a> PatternLimit<'a> {
    pub(super) fn new(before: &'a dyn Fn() -> usize) -> Self {
        Self { before, used: OnceCell::new() }
    }

    /// Passes a text that is not parsed yet to `next`, or a fault if it may have patterns and there
    /// are too many. `own` is the number of those that `next` replaces, `patterns_of` that of its
    /// result.
    pub(super) fn parse<T>(
        &self,
        own: usize,
        text: Box<str>,
        next: impl FnOnce(Result<Box<str>, Fault>) -> T,
        patterns_of: impl FnOnce(&T) -> usize,
    ) -> T {
        if !text.contains(r#""regex""#) {
            return next(Ok(text));
        }
        let used = self.used.get_or_init(|| Cell::new((self.before)()));
        let others = used.get().saturating_sub(own);
        let text = if others < MAX_PATTERNS { Ok(text) } else { Err(Fault::TooManyPatterns) };
        let found = next(text);
        used.set(others + patterns_of(&found));
        found
    }
}
