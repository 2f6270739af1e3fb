"""The columns of the stand-in's rows that show the present state of our flags.

They are deferred: reading one evaluates our flag, and a save writes only those that code has read
or assigned. What was read is remembered, so that a stale row changes nothing of our flag.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models.query_utils import DeferredAttribute

from flagstaff.contrib.waffle.evaluating import has_flag, shown
from flagstaff.contrib.waffle.rows import overridden_methods
from flagstaff.contrib.waffle.settings import WaffleKind

_COLUMNS: dict[WaffleKind, tuple[str, ...]] = {
    "flag": ("everyone", "percent"),
    "switch": ("active",),
    "sample": ("percent",),
}
# In the instance: the columns as the table has them, and as code has seen them.
_STORED, _SEEN = "_flagstaff_stored", "_flagstaff_seen"


class LazyColumn(DeferredAttribute):
    """A column that is read when it is needed, also the primary key, unlike in Django."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        name = self.field.attname
        if name not in instance.__dict__:
            instance.refresh_from_db(fields=[name])
        return instance.__dict__[name]


def make_columns_lazy(model: Any) -> None:
    """Replaces the descriptors of a model's columns."""
    for field in model._meta.local_concrete_fields:
        if type(model.__dict__.get(field.attname)) is DeferredAttribute:
            setattr(model, field.attname, LazyColumn(field))


def evaluates_itself(model: Any) -> bool:
    """Whether a project's model overrides a method that evaluates: flagstaff leaves it alone."""
    return bool(overridden_methods(model))


def columns_of(row: Any) -> tuple[str, ...]:
    """Returns the columns that show our flag; none if the model evaluates itself."""
    return () if evaluates_itself(type(row)) else _COLUMNS[row.KIND]


def remember_loaded(row: Any) -> None:
    """Remembers what was loaded from the table, and defers the columns that show our flag."""
    row.__dict__[_STORED], row.__dict__[_SEEN] = _values(row), {}
    for name in columns_of(row):
        row.__dict__.pop(name, None)


def remember_saved(row: Any, update_fields: Collection[str] | None) -> None:
    """Remembers what a save has written: the next one compares with it."""
    written = {
        name: value
        for name, value in _values(row).items()
        if update_fields is None or name in update_fields
    }
    row.__dict__.setdefault(_STORED, {}).update(written)
    row.__dict__.setdefault(_SEEN, {}).update(written)


def stored_name(row: Any) -> str:
    """Returns the name that the table has: code may have assigned another one."""
    return str(row.__dict__.get(_STORED, {}).get("name", row.name))


def changed_columns(row: Any, update_fields: Collection[str] | None = None) -> set[str]:
    """Returns the columns that code has assigned, and a save with these fields writes."""
    stored, seen = row.__dict__.get(_STORED, {}), row.__dict__.get(_SEEN, {})
    known = {name: value for name, value in stored.items() if name not in columns_of(row)} | seen
    return {
        name
        for name, value in _values(row).items()
        if (update_fields is None or name in update_fields)
        and not (name in known and known[name] == value)
    }


def assigned(row: Any, name: str) -> Any:
    """Returns what code has assigned to a column and not saved; None if it has not."""
    return row.__dict__[name] if name in changed_columns(row) else None


def make_lazy(row: Any) -> None:
    """Defers all columns but the name, also the primary key."""
    for field in row._meta.concrete_fields:
        if field.attname != "name":
            row.__dict__.pop(field.attname, None)


def find(row: Any) -> bool:
    """Loads the columns of a lazy row, and returns False if there is nothing to load.

    Without a row of the name in the table, they are those of a new one.
    """
    if row._meta.pk.attname in row.__dict__:
        return False
    model = type(row)
    found = model.rows_to_read().filter(name=row.name).first()
    if found is None:
        found = model(name=row.name)
        remember_loaded(found)
    row._state.adding, row._state.db = found._state.adding, found._state.db
    row.__dict__.update({**found.__dict__, **row.__dict__})
    return True


def show(row: Any, name: str) -> None:
    """Reads a deferred column from our flag. Queries nothing for a lazy row that has a flag."""
    if name == "percent" or not has_flag(row.KIND, row.name):
        # For the part after the decimal point, and to know whether there is a row.
        find(row)
    stored, is_stored = row.__dict__.get(_STORED, {}), not row._state.adding
    if name == "percent" and name not in stored and is_stored:
        stored[name] = type(row).rows_to_read().values_list(name, flat=True).get(pk=row.pk)
    value = shown(row.KIND, row.name, name, stored.get(name), is_stored=is_stored)
    row.__dict__[name] = row.__dict__.setdefault(_SEEN, {})[name] = value


def forget(row: Any, names: Collection[str] | None) -> None:
    """Defers columns again, after the others were refreshed from the table."""
    stored = row.__dict__.setdefault(_STORED, {})
    shown_here = columns_of(row)
    stored.update({name: value for name, value in _values(row).items() if name not in shown_here})
    for name in shown_here:
        if names is None or name in names:
            row.__dict__.pop(name, None)
            stored.pop(name, None)
            row.__dict__.setdefault(_SEEN, {}).pop(name, None)


def _values(row: Any) -> dict[str, Any]:
    """Returns the loaded columns by name."""
    known = row.__dict__
    names = (field.attname for field in row._meta.concrete_fields)
    return {name: known[name] for name in names if name in known}
