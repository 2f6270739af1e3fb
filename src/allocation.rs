//! Which variant of an experiment a unit has: the weights of the variants, and the traffic.

use serde::Deserialize;

use crate::bucket::{POSITIONS, Position};

/// The number of a variant, in the order in which the experiment lists them.
pub type VariantNumber = u8;

/// The most variants of an experiment.
pub const MAX_VARIANTS: usize = 100;
/// The parts of the traffic.
const PARTS: u64 = 100;

/// The variants of an experiment, their buckets, and the share of all units that take part.
///
/// The bucket decides the variant, and another part of the digest whether the unit takes part. So
/// more traffic moves no unit to another variant, and keeps the ratio of the variants: the bucket is
/// of the whole digest, which is uniform whatever its first 64 bits are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    variants: Box<[Box<str>]>,
    /// The bucket after the last one of each variant.
    ends: Box<[u16]>,
    traffic_percent: u64,
}

/// A variant, and how many units get it in relation to the others.
#[derive(Deserialize)]
struct Variant {
    key: Box<str>,
    weight: u32,
}

impl Allocation {
    /// The allocation of this JSON text, a list of variants with `key` and `weight`, and of this
    /// percentage of all units. `None` if no unit can have a variant by them.
    #[must_use]
    pub fn parse(variants: &str, traffic_percent: i32) -> Option<Self> {
        let stored: Vec<Variant> = serde_json::from_str(variants).ok()?;
        let traffic_percent = u64::try_from(traffic_percent).ok().filter(|one| *one <= PARTS)?;
        let total: u64 = stored.iter().map(|variant| u64::from(variant.weight)).sum();
        if stored.len() > MAX_VARIANTS || total == 0 {
            return None;
        }
        let (mut ends, mut weight) = (Vec::with_capacity(stored.len()), 0);
        for variant in &stored {
            weight += u64::from(variant.weight);
            ends.push(u16::try_from((weight * u64::from(POSITIONS)).div_ceil(total)).ok()?);
        }
        let variants = stored.into_iter().map(|variant| variant.key).collect();
        Some(Self { variants, ends: ends.into(), traffic_percent })
    }

    /// The variant of a unit; `None` for one that takes no part.
    #[must_use]
    #[inline]
    pub fn variant(&self, position: Position) -> Option<VariantNumber> {
        if position.fingerprint % PARTS >= self.traffic_percent {
            return None;
        }
        let number = self.ends.partition_point(|end| *end <= position.bucket);
        VariantNumber::try_from(number).ok()
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
