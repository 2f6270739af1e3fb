"""Look-up of a flag or a value by its key. The error suggests similar keys."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from django.db.models import Model, QuerySet

from flagstaff._text.storable import is_storable
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, UnknownFlagError, UnknownValueError

__all__ = ["all_rows", "flag_row", "value_row"]


def flag_row(key: str, *, lock: bool = False) -> Any:
    """Returns the flag with this key, locked until the end of the transaction if `lock` is True.

    Raises UnknownFlagError if there is none.
    """
    return _row(conf.flag_model, key, lock=lock)


def value_row(key: str, *, lock: bool = False) -> Any:
    """Returns the value with this key, locked until the end of the transaction if `lock` is True.

    Raises UnknownValueError if there is none.
    """
    return _row(conf.value_model, key, lock=lock)


def all_rows(model: type[Model]) -> QuerySet[Any]:
    """Returns all rows, including those that the model's own manager hides: workers load them."""
    return model._base_manager.using(conf.database)


def _row(model: type[Model], key: str, *, lock: bool) -> Any:
    rows = all_rows(model)
    rows = rows.select_for_update() if lock else rows
    found = list(rows.filter(key=key)) if is_storable(key) else []
    if not found:
        raise _unknown(model, key)
    if len(found) > 1:
        # A project's own table may allow it; workers ignore such rows.
        raise FlagstaffError(f"{len(found)} rows have the key {key!r}; delete all but one")
    return found[0]


def _unknown(model: type[Model], key: str) -> FlagstaffError:
    if model is conf.flag_model:
        return UnknownFlagError(f"there is no flag {key!r}; {_suggestion(model, key)}")
    return UnknownValueError(f"there is no value {key!r}; {_suggestion(model, key)}")


def _suggestion(model: type[Model], key: str) -> str:
    keys = all_rows(model).exclude(key=None).values_list("key", flat=True)
    nearest = get_close_matches(key, keys)
    if not nearest:
        return "no other key is near it"
    return f"did you mean {' or '.join(map(repr, nearest))}?"
