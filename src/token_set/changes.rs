//! Which rows of a table have changed since the last load, according to the new tokens.
//!
//! A worker keeps only the sums of the tokens of its last load, not the tokens. These sums prove
//! whether the tokens that seem to be new are all that were added since.

use super::{Relation, TokenSet};

/// The most new tokens that a load reads; with more, it reads whole tables.
pub const MAX_NEW_TOKENS: usize = 256;
/// The most keys of one table that a load asks for; with more, it reads the whole table. A pair
/// counts as two.
pub const MAX_KEYS: usize = 256;

/// A token that a load sees, written by a transaction that the last load did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    relation: Relation,
    sums: Sums,
    keys: Option<Vec<Box<str>>>,
    removed: Vec<(Relation, Sums)>,
}

/// The number of some tokens, and the sums of their ids and random numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    count: i64,
    ids: i128,
    /// The sum of random numbers, which makes the same sums of other tokens improbable.
    nonces: i128,
}

/// What has changed in a table since a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// At most the rows with these keys.
    Rows(Vec<Box<str>>),
    /// Any row.
    Table,
}

impl NewToken {
    /// Reads a row of the token table: the letter of its relation, its sums, the keys of the rows
    /// that its statement changed, and the sums by letter of the tokens that it has pruned. `None`
    /// if a text is malformed.
    #[must_use]
    pub fn parse<'a>(
        relation: &str,
        sums: &str,
        keys: Option<Vec<Box<str>>>,
        removed: impl IntoIterator<Item = &'a str>,
    ) -> Option<Self> {
        let of_relation = |text: &str| {
            let (letter, sums) = text.split_once(' ')?;
            Some((Relation::of_letter(letter), Sums::parse(sums)?))
        };
        let removed = removed.into_iter().map(of_relation).collect::<Option<_>>()?;
        let (relation, sums) = (Relation::of_letter(relation), Sums::parse(sums)?);
        Some(Self { relation, sums, keys, removed })
    }
}

impl Sums {
    /// Reads `COUNT IDS NONCES`, as SQL writes it. `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ');
        let count = numbers.next()?.parse().ok()?;
        let mut sum = || numbers.next()?.parse().ok();
        let (ids, nonces) = (sum()?, sum()?);
        numbers.next().is_none().then_some(Self { count, ids, nonces })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            ids: self.ids.wrapping_add(other.ids),
            nonces: self.nonces.wrapping_add(other.nonces),
        }
    }
}

impl TokenSet {
    /// What has changed in the table of `relation` since the load that saw `before`. `new` are the
    /// tokens that seem to be added since, `None` if they are unknown. If they are known, equal sums
    /// need the proof, too: a token may have been added and pruned since.
    #[must_use]
    pub fn change(&self, before: &Self, new: Option<&[NewToken]>, relation: Relation) -> Change {
        if self.tables != before.tables {
            return Change::Table;
        }
        let Some(new) = new else {
            let is_same = self.sums.get(&relation) == before.sums.get(&relation);
            return if is_same { Change::Nothing } else { Change::Table };
        };
        let proved = self.is_proved(before, new, relation) == Some(true);
        match proved.then(|| keys(new, relation)).flatten() {
            None => Change::Table,
            Some(keys) if keys.is_empty() => Change::Nothing,
            Some(keys) => Change::Rows(keys),
        }
    }

    /// Whether the table of `relation` may have changed since `before`.
    #[must_use]
    pub fn changed(&self, before: &Self, relation: Relation) -> bool {
        self.change(before, None, relation) != Change::Nothing
    }

    /// Whether `new` are all tokens of `relation` that were added, and contain the sums of all that
    /// were removed: the sums before, plus those of `new`, minus the removed ones, are those of
    /// now. `None` if a sum cannot be read.
    fn is_proved(&self, before: &Self, new: &[NewToken], relation: Relation) -> Option<bool> {
        let sums_of = |set: &Self| match set.sums.get(&relation) {
            Some(text) => Sums::parse(text),
            None => Some(Sums::default()),
        };
        let added = new.iter().filter(|token| token.relation == relation).map(|token| token.sums);
        let removed = new.iter().flat_map(|token| &token.removed);
        let removed = removed.filter(|(of, _)| *of == relation).map(|(_, sums)| *sums);
        let expected = added.fold(sums_of(before)?, Sums::plus);
        Some(expected == removed.fold(sums_of(self)?, Sums::plus))
    }
}

/// The keys of the rows that these tokens name, `None` if one names none or all name too many.
fn keys(new: &[NewToken], relation: Relation) -> Option<Vec<Box<str>>> {
    let mut named = Vec::new();
    for token in new.iter().filter(|token| token.relation == relation) {
        named.extend(token.keys.as_ref()?.iter().cloned());
    }
    (named.len() <= MAX_KEYS).then_some(named)
}
