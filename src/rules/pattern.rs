//! Regular expressions within bounds: a search takes time in proportion to the text.

use regex::{Error, Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

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

/// The compiled pattern; `None` if no text can match it, such as `a^` or `/^a$/`.
pub(super) fn compile(pattern: &str) -> Result<Option<Regex>, RuleError> {
    if pattern.chars().nth(MAX_PATTERN).is_some() {
        return Err(RuleError::with(&texts::PATTERN_TOO_LONG, [("limit", MAX_PATTERN.into())]));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE);
    let regex = builder.build().map_err(|error| problem(&error))?;
    let can_match =
        regex_syntax::parse(pattern).map_or(true, |hir| after(&hir, START | MIDDLE) != 0);
    Ok(can_match.then_some(regex))
}

/// Places in a text, as a set: its start, after its start, and its end, also that of an empty text.
const START: u8 = 1;
const MIDDLE: u8 = 2;
const EMPTY_END: u8 = 4;
const END: u8 = 8;
/// Repeated this often, a pattern is at the same places as repeated more often.
const STEPS: u32 = 4;

/// The places that a match of this part can reach from these places. May contain further ones: words
/// and lines do not count.
fn after(part: &Hir, from: u8) -> u8 {
    let has = |places: u8, then: u8| if from & places == 0 { 0 } else { then };
    match part.kind() {
        HirKind::Class(Class::Unicode(class)) if class.ranges().is_empty() => 0,
        HirKind::Class(Class::Bytes(class)) if class.ranges().is_empty() => 0,
        HirKind::Class(_) | HirKind::Literal(_) => has(START | MIDDLE, MIDDLE),
        HirKind::Look(Look::Start) => from & (START | EMPTY_END),
        HirKind::Look(Look::End) => has(START | EMPTY_END, EMPTY_END) | has(MIDDLE | END, END),
        HirKind::Look(_) | HirKind::Empty => from,
        HirKind::Capture(capture) => after(&capture.sub, from),
        HirKind::Concat(parts) => parts.iter().fold(from, |from, part| after(part, from)),
        HirKind::Alternation(parts) => parts.iter().fold(0, |all, part| all | after(part, from)),
        HirKind::Repetition(repeated) => {
            let least =
                (0..repeated.min.min(STEPS)).fold(from, |from, _| after(&repeated.sub, from));
            let more = if repeated.max == Some(repeated.min) { 0 } else { STEPS };
            (0..more).fold(least, |all, _| all | after(&repeated.sub, all))
        }
    }
}

fn problem(error: &Error) -> RuleError {
    if let Error::CompiledTooBig(_) = error {
        return RuleError::new(&texts::PATTERN_TOO_BIG);
    }
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    RuleError::with(&texts::WRONG_PATTERN, [("reason", reason.into())])
}
