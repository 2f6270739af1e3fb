"""Deleted rows of optional apps, whose events are kept as long as the history.

Events refer to their row. So a deletion moves them to a row that decides nothing, whose key says
that it was deleted: no valid key has a space. Managers of the apps hide these rows, and
their events: `dumpdata` writes what managers show, and no event can be loaded without its row.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import ForeignKey, Manager, Model, Q, QuerySet

from flagstaff._tables.database import db
from flagstaff._tables.rows import Row, all_rows, model_of
from flagstaff.validators import KEY_MAX_LENGTH

_MARK = " (deleted "
# For the mark and the number.
_MARK_LENGTH = 32
_KEPT_LENGTH = KEY_MAX_LENGTH - _MARK_LENGTH

_Row = TypeVar("_Row", bound=Model)


def key_of_deleted(key: str, number: int) -> str:
    """Returns the key of the row that keeps the events of a deleted one, given by its number.

    >>> key_of_deleted("new_checkout", 7)
    'new_checkout (deleted 7)'
    """
    return f"{key[:_KEPT_LENGTH]}{_MARK}{number})"


def former_key(key: str) -> str | None:
    """Returns the key that a deleted row had, of a very long one its beginning; or else None."""
    return key.rpartition(_MARK)[0] or None


def is_deleted(path: str = "") -> Q:
    """Selects deleted rows, or what belongs to them: `path` leads to the row, such as "plan__"."""
    return Q(**{f"{path}key__contains": _MARK})


class ExistingManager(Manager[_Row]):
    """The rows that were not deleted."""

    def get_queryset(self) -> QuerySet[_Row]:
        return super().get_queryset().exclude(is_deleted())


class EventManager(Manager[_Row]):
    """The events of rows that were not deleted."""

    def get_queryset(self) -> QuerySet[_Row]:
        return super().get_queryset().exclude(is_deleted(f"{_row_field(self.model)}__"))


def _row_field(events: type[Model]) -> str:
    """Returns the name of the only foreign key of events, which leads to their row."""
    fields = events._meta.concrete_fields
    [name] = (field.name for field in fields if isinstance(field, ForeignKey))
    return name


def delete_but_events(row: Row, events: type[Model], **columns: Any) -> None:
    """Deletes a row and moves its events to a new one, whose `columns` must decide nothing.

    `events` is their model.
    """
    kept = model_of(row)(key=key_of_deleted(row.key, row.pk), **columns)
    kept.save(using=db.alias, force_insert=True)
    field = _row_field(events)
    all_rows(events).filter(**{field: row}).update(**{field: kept})
    row.delete(using=db.alias)


def deleted_rows(model: type[Model]) -> QuerySet[Any]:
    """Returns the deleted rows of a model."""
    return all_rows(model).filter(is_deleted())


def has_key(key: str, path: str) -> Q:
    """Selects what belongs to the row with a key, or to deleted rows that had it.

    `path` leads to the row, such as "plan__".
    """
    was = Q(**{f"{path}key__startswith": f"{key[:_KEPT_LENGTH]}{_MARK}"})
    return Q(**{f"{path}key": key}) | was
