"""The attributes and segments that an editor offers."""

from __future__ import annotations

from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import BUILT_IN


def known_attributes() -> list[str]:
    """Returns the attributes that are known without a user. A function may return others."""
    return [*dict.fromkeys((*conf.attributes.columns, *BUILT_IN, VISITOR))]


def segment_keys() -> list[str]:
    """Returns the keys of all segments, in order. Makes one query."""
    return [*all_rows(segment_model()).order_by("key").values_list("key", flat=True)]
