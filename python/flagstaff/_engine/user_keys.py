"""Primary keys of users: how the extension reads them, and their text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal
from uuid import UUID

from django.db.models import Model
from django.utils.functional import LazyObject

from flagstaff._tables.names import user_field
from flagstaff.conf import conf


def classify(user: object) -> tuple[Literal["key", "lazy", "user", "computed"], str]:
    """Returns how objects of this type are read, and the attribute that holds the primary key.

    A "computed" key runs code, which may query. Called by the extension, once per type. Raises
    TypeError if objects of this type are neither users nor keys.
    """
    # The type, not the instance: `isinstance` reads `__class__`, which evaluates a lazy object.
    user_type = type(user)
    if not issubclass(user_type, bool | float | type):
        if issubclass(user_type, int | str | UUID):
            return "key", ""
        if issubclass(user_type, LazyObject):
            return "lazy", ""
        if _has_key(user):
            return _key_attribute(user_type)
    raise TypeError(
        "user must be a user, the primary key of one (int, str or uuid.UUID) or None, not "
        f"{user_type.__qualname__}"
    )


def _has_key(user: object) -> bool:
    try:
        return hasattr(user, "pk")
    except Exception:  # noqa: BLE001 (the evaluation that reads it raises it)
        return True


def _key_attribute(user_type: type) -> tuple[Literal["user", "computed"], str]:
    """Returns the attribute behind `pk` of a model, which is faster to read than the property.

    A model with its own `pk` keeps it.
    """
    if not issubclass(user_type, Model) or user_type.pk is not Model.pk:
        return "computed", "pk"
    name = user_type._meta.pk.attname
    # The key of a multi-table child is a descriptor that runs code.
    return "computed" if hasattr(getattr(user_type, name), "__set__") else "user", name


def key_to_text() -> Callable[[object], str]:
    """Returns the function that turns a key, as a query returns it, into text."""
    # SQLite stores a UUID as 32 digits.
    to_python = user_field(conf.flag_model).to_python
    return lambda user_pk: str(to_python(user_pk))
