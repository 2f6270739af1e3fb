//! Which variant of an experiment a bucket has.

use serde::Deserialize;

use crate::bucket::POSITIONS;

/// The number of a variant, in the order in which the experiment lists them.
pub type VariantNumber = u8;

/// The most variants of an experiment.
pub const MAX_VARIANTS: usize = 100;
/// The most ranges of buckets. A change of weights adds a few of them.
const MAX_RANGES: usize = 10_000;

/// The variants of an experiment, and the buckets of each.
///
/// The buckets are stored, and not computed from the weights, so that a change of weights moves no
/// more units than it must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    variants: Box<[Box<str>]>,
    /// The bucket after each range, and the variant of the range. In order.
    ranges: Box<[(u16, Option<VariantNumber>)]>,
}

/// A variant, or null for units that take no part, and its number of buckets.
#[derive(Deserialize)]
struct Range(Option<Box<str>>, u16);

impl Allocation {
    /// The allocation of these JSON texts: a list of the keys of the variants, and a list of pairs
    /// of a key, or null, and a number of buckets. `None` if they do not fit each other.
    #[must_use]
    pub fn parse(variants: &str, allocation: &str) -> Option<Self> {
        let variants: Box<[Box<str>]> = serde_json::from_str(variants).ok()?;
        let stored: Vec<Range> = serde_json::from_str(allocation).ok()?;
        if variants.len() > MAX_VARIANTS || stored.len() > MAX_RANGES {
            return None;
        }
        let this = Self { variants, ranges: Box::default() };
        let (mut ranges, mut end) = (Vec::with_capacity(stored.len()), 0_u16);
        for Range(key, buckets) in stored {
            end = end.checked_add(buckets).filter(|end| *end <= POSITIONS)?;
            let variant = match key {
                Some(key) => Some(this.number(&key)?),
                None => None,
            };
            ranges.push((end, variant));
        }
        (end == POSITIONS).then(|| Self { ranges: ranges.into(), ..this })
    }

    /// The variant of a bucket; `None` for units that take no part.
    #[must_use]
    #[inline]
    pub fn variant(&self, bucket: u16) -> Option<VariantNumber> {
        let range = self.ranges.partition_point(|(end, _)| *end <= bucket);
        self.ranges.get(range)?.1
    }

    /// The number of the variant with this key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<VariantNumber> {
        let position = self.variants.iter().position(|variant| **variant == *key)?;
        VariantNumber::try_from(position).ok()
    }

    /// The key of a variant.
    #[must_use]
    #[inline]
    pub fn key(&self, variant: VariantNumber) -> &str {
        self.variants.get(usize::from(variant)).map_or("", |key| key)
    }

    /// The keys of all variants, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.variants.iter().map(|key| &**key)
    }
}
