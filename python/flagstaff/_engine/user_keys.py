"""Primary keys of users: how the extension reads them, and their text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import IntegerField, Model
from django.utils.functional import LazyObject

from flagstaff._log import log_once
from flagstaff._tables.names import user_field
from flagstaff._types import UserLike
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


def bare_key(user: UserLike) -> str:
    """Returns the text of the primary key of a user, or of a primary key. Reads a lazy user.

    Raises TypeError for what is neither, and for a user without a primary key.
    """
    kind, _attribute = classify(user)
    key = user if kind == "key" else getattr(user, "pk", None)
    if key is None:
        raise TypeError("user has no primary key; save it, or pass another user")
    return str(key)


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


def check_text_key(text: str) -> bool:
    """Warns once if a text that a caller passes as the user cannot be a primary key of the project.

    Called by the extension. Returns whether to compare other texts: with integers, until one was
    reported. A text with a colon may be that of a tenant, "schema:pk".
    """
    field = user_field(conf.flag_model)
    if ":" in text:
        return False
    try:
        field.to_python(text)
    except ValidationError:
        user = field.model._meta.label
        # Without the text: it may be a name or an address.
        log_once(
            "text key",
            user,
            f"an evaluation got a text as its user that cannot be a primary key of {user} "
            f"({field.get_internal_type()}), so no list of allowed users has it, and its bucket is "
            "not that of the user; pass the user or its primary key",
        )
        return False
    return isinstance(field, IntegerField)


def report_needed_user(key: str) -> None:
    """Logs once per flag that it needs the user object, for its rules or its bucketing unit."""
    log_once(
        "needed user",
        key,
        f"{key!r} reads attributes of the user, but the caller passed a primary "
        "key, so these attributes are missing; pass the user object",
    )


def report_missing_user(key: str) -> None:
    """Logs once per value that its rules need the user."""
    log_once(
        "missing user",
        key,
        f"the rules of value {key!r} need the user, but the caller passed none, so rules about the "
        f"user do not match; use request.flags.value({key!r}), or "
        f"get_value({key!r}, user=request.user)",
    )
