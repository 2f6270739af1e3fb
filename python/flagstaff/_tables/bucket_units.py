"""The bucketing unit of a flag: what its percentages count."""

from __future__ import annotations

#: The name of the field.
BUCKET_BY = "bucket_by"
#: The units that are not the name of an attribute.
USER, VISITOR = "user", "visitor"

# The characters of an attribute's name in a label or a sentence.
_MAX_SHOWN = 24


def short_unit(unit: str) -> str:
    """Returns the name of a unit, without the end of a long one."""
    return unit if len(unit) <= _MAX_SHOWN else f"{unit[: _MAX_SHOWN - 1]}…"
