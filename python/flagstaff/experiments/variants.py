"""The variants of an experiment: their keys, weights and shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flagstaff._core import BUCKETS, MAX_VARIANTS
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.validators import key_problem

_MIN_VARIANTS = 2
MAX_WEIGHT = 10_000


@dataclass(frozen=True)
class Variant:
    """A variant, and how many units get it in relation to the others."""

    key: str
    weight: int = 1

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Returns the variant that a text such as "treatment" or "treatment:3" means.

        Raises InvalidExperimentError if the text is something else.
        """
        key, colon, weight = text.partition(":")
        if not colon:
            return cls(key)
        if not (weight.isascii() and weight.isdecimal()):
            raise InvalidExperimentError(
                '"{text}" is no variant; write a key and a weight, such as "treatment:3"', text=text
            )
        return cls(key, int(weight[:9]))


def valid_variants(declared: Iterable[Variant | str]) -> list[Variant]:
    """Returns the variants of an experiment. The first one is the control.

    Raises InvalidExperimentError unless there are 2 to 100, with different keys of letters, digits,
    "_", "-" and ".", and weights from 0 to 10,000 of which one is above 0, and none too small for a
    bucket.
    """
    variants = [
        Variant.parse(variant) if isinstance(variant, str) else variant for variant in declared
    ]
    if not _MIN_VARIANTS <= len(variants) <= MAX_VARIANTS:
        raise InvalidExperimentError(
            "the experiment has {count} variants; write 2 to {limit}, the control first",
            count=len(variants),
            limit=MAX_VARIANTS,
        )
    for variant in variants:
        _require_valid(variant)
    keys = [variant.key for variant in variants]
    for key in keys:
        if keys.count(key) > 1:
            raise InvalidExperimentError('two variants have the key "{key}"; rename one', key=key)
    total = sum(variant.weight for variant in variants)
    if not total:
        raise InvalidExperimentError("all weights are 0; give at least one variant a weight")
    for variant in variants:
        if 0 < variant.weight * BUCKETS < total:
            raise InvalidExperimentError(
                "{key} would get less than 0.01 % of the units; raise its weight", key=variant.key
            )
    return variants


def _require_valid(variant: Variant) -> None:
    if problem := key_problem(variant.key):
        raise InvalidExperimentError("variant {key}: {why}", key=repr(variant.key), why=problem)
    if type(variant.weight) is not int or not 0 <= variant.weight <= MAX_WEIGHT:
        raise InvalidExperimentError(
            "the weight of {key} is {value}; write a whole number from 0 to {limit}",
            key=variant.key,
            value=repr(variant.weight),
            limit=MAX_WEIGHT,
        )


def variants_as_json(variants: Iterable[Variant]) -> list[dict[str, Any]]:
    """Returns the form in which the table stores the variants."""
    return [{"key": variant.key, "weight": variant.weight} for variant in variants]


def variants_of(stored: Iterable[Mapping[str, Any]]) -> list[Variant]:
    """Returns the variants of a row."""
    return [Variant(variant["key"], variant["weight"]) for variant in stored]


def shares_of(stored: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the share of the units in an experiment that each variant of a row gets, from 0 to 1.

    The buckets are those that the engine computes: a variant ends before the first bucket that is
    not below its part of the weights.
    """
    variants = variants_of(stored)
    total = sum(variant.weight for variant in variants)
    shares: dict[str, float] = {}
    weight = end = 0
    for variant in variants:
        weight += variant.weight
        begin, end = end, -(-weight * BUCKETS // total)
        shares[variant.key] = (end - begin) / BUCKETS
    return shares
