//! Regular expressions within bounds: a search takes time in proportion to the text.

use regex::{Error, Regex, RegexBuilder};

use super::error::RuleError;
use super::texts;

/// The longest pattern, in characters.
pub(super) const MAX_PATTERN: usize = 500;
/// The number of patterns of one flag or segment, because each takes memory of its own.
pub(super) const MAX_PATTERNS: usize = 100;
/// The size of a compiled pattern in bytes. A pattern for e-mail addresses with a few `\w` has 150 KB.
const MAX_COMPILED: usize = 256 * 1024;
/// The size of the states that a search keeps, in bytes.
const MAX_CACHE: usize = 64 * 1024;

/// The compiled pattern.
pub(super) fn compile(pattern: &str) -> Result<Regex, RuleError> {
    if pattern.chars().nth(MAX_PATTERN).is_some() {
        return Err(RuleError::with(&texts::PATTERN_TOO_LONG, [("limit", MAX_PATTERN.into())]));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE);
    builder.build().map_err(|error| problem(&error))
}

fn problem(error: &Error) -> RuleError {
    if let Error::CompiledTooBig(_) = error {
        return RuleError::new(&texts::PATTERN_TOO_BIG);
    }
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    RuleError::with(&texts::WRONG_PATTERN, [("reason", reason.into())])
}
