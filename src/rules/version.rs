//! Versions, ordered by `SemVer` 2.0. `1` and `1.2` are `1.0.0` and `1.2.0`, and so is `v1.2`.

use std::cmp::Ordering;

/// A version. Its build metadata does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version<'a> {
    /// Digits without leading zeros. They may be more than an integer holds.
    numbers: [&'a str; 3],
    /// The identifiers of the prerelease, empty for a release.
    prerelease: &'a str,
}

impl<'a> Version<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (text, build) = split_at_first(text, '+');
        let (core, prerelease) = split_at_first(text, '-');
        let is_valid = build.is_none_or(|build| build.split('.').all(is_identifier))
            && prerelease.is_none_or(|parts| parts.split('.').all(is_prerelease_identifier));
        let mut numbers = ["0"; 3];
        for (position, part) in core.split('.').enumerate() {
            *numbers.get_mut(position)? = is_number(part).then_some(part)?;
        }
        is_valid.then_some(Self { numbers, prerelease: prerelease.unwrap_or_default() })
    }

    pub(super) fn cmp(&self, other: &Version<'_>) -> Ordering {
        let pairs = self.numbers.into_iter().zip(other.numbers);
        let numbers = pairs.map(|(one, other)| cmp_numbers(one, other));
        numbers.fold(Ordering::Equal, Ordering::then).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                // A release is newer than its prereleases.
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => cmp_prereleases(self.prerelease, other.prerelease),
            }
        })
    }
}

fn split_at_first(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Digits without a leading zero.
fn is_number(part: &str) -> bool {
    let has_digits_only = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    has_digits_only && (part.len() == 1 || !part.starts_with('0'))
}

fn is_identifier(part: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !part.is_empty() && part.bytes().all(is_allowed)
}

fn is_prerelease_identifier(part: &str) -> bool {
    let has_digits_only = part.bytes().all(|byte| byte.is_ascii_digit());
    is_identifier(part) && (!has_digits_only || is_number(part))
}

fn cmp_prereleases(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        let ordering = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => cmp_identifiers(one, other),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// Numbers come before texts.
fn cmp_identifiers(one: &str, other: &str) -> Ordering {
    match (is_number(one), is_number(other)) {
        (true, true) => cmp_numbers(one, other),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => one.cmp(other),
    }
}

/// Numbers of any length have no leading zeros, so a longer one is greater.
fn cmp_numbers(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}
