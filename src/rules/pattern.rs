//! Regular expressions within bounds: a search takes time in proportion to the text.

use regex::{Error, Regex, RegexBuilder};

use super::error::RuleError;

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
        let message = format!("the pattern has more than {MAX_PATTERN} characters; shorten it");
        return Err(RuleError::new(message));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE);
    builder.build().map_err(|error| RuleError::new(message(&error)))
}

fn message(error: &Error) -> String {
    match error {
        Error::CompiledTooBig(_) => {
            "the pattern is too big; use smaller repetitions and fewer classes such as \\w"
                .to_owned()
        }
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the pattern is not valid: {reason}")
        }
    }
}
