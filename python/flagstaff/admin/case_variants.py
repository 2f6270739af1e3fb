"""The warning about keys that differ from a new one only in upper and lower case."""

from __future__ import annotations

from django.db.models import Model
from django.utils.translation import gettext as _

from flagstaff._tables.rows import case_variants
from flagstaff._words.lists import join_some
from flagstaff.history.describe import and_more, quoted


def case_variants_text(model: type[Model], key: str) -> str:
    """Returns the sentence; empty if there is no such key. Makes a query."""
    similar = case_variants(model, key)
    if not similar:
        return ""
    text = _("Keys are case-sensitive: “%(key)s” differs only in case from %(keys)s.")
    keys = join_some((quoted(one) for one in similar), more=and_more)
    return text % {"key": key, "keys": keys}
