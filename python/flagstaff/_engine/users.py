"""What the extension reads of a user: the primary key, and the attributes that rules name.

These are the columns of ATTRIBUTES, and values that can be compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, MappingView
from datetime import datetime, timedelta
from operator import index
from typing import Any, Literal, SupportsIndex
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.db.models import IntegerField, Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.db.models.manager import BaseManager
from django.utils.functional import LazyObject
from django.utils.timezone import get_default_timezone, is_naive

from flagstaff import _core
from flagstaff._log import log_once, place_of
from flagstaff._tables.database import user_field
from flagstaff._types import UserLike
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError


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


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (as a naive one, to subtract from naive ones)
_MICROSECOND = timedelta(microseconds=1)
# Objects that are no values: their text would query the database, or names only their type.
_NO_VALUES = (QuerySet, BaseManager, Iterator, Mapping, MappingView, deque)


def read_settings() -> tuple[dict[str, str], bool]:
    """Returns the attributes of the user object by their name, and whether there is a callable.

    Called by the extension. Raises ConfigurationError if a name is no column of the user model.
    """
    unusable = unusable_columns()
    if unusable:
        raise ConfigurationError(
            'FLAGSTAFF["ATTRIBUTES"] names {name}, which is not a column of {model}; name columns '
            "of that model, or the path of a function",
            name=repr(unusable[0]),
            model=_user_model()._meta.label,
        )
    return column_attributes(), conf.attributes.callable is not None


def column_attributes() -> dict[str, str]:
    """Returns the attribute of the user object by the name of each column in ATTRIBUTES.

    A ForeignKey is read by the key that it holds, which needs no query.
    """
    fields = _user_model()._meta.concrete_fields
    attributes = {name: field.attname for field in fields for name in (field.attname, field.name)}
    return {name: attributes[name] for name in conf.attributes.columns if name in attributes}


def unusable_columns() -> list[str]:
    """Returns the names in ATTRIBUTES that are no columns of the user model."""
    usable = column_attributes()
    return [name for name in conf.attributes.columns if name not in usable]


def _user_model() -> Any:
    return user_field(conf.flag_model).model


class _NoValueError(TypeError):
    """an object that rules cannot compare"""


def is_deferred(user: object, attribute: str) -> bool:
    """Whether an attribute that a user object does not hold is a column, which a query would load.

    Other libraries wrap the descriptors of Django, so a model's fields are compared by name.
    """
    fields = user._meta.concrete_fields if isinstance(user, Model) else ()
    return any(field.attname == attribute for field in fields)


def plain_value(value: object) -> object:
    """Returns the number or text that rules compare in place of an object; None if it is missing.

    Raises an error for an object whose text would be a query, or says nothing of its elements.
    """
    if isinstance(value, _NO_VALUES):
        kind = type(value).__name__
        raise _NoValueError(f"rules cannot compare a {kind}; pass a list of values")
    if isinstance(value, FieldFile) and not value:
        return None
    # numpy's integers, for example.
    return index(value) if isinstance(value, SupportsIndex) else str(value)


def report_unreadable(name: str, error: Exception) -> None:
    """Logs once that an attribute cannot be read."""
    message = f"the attribute {name!r} is missing: reading it raised {place_of(error)}"
    if isinstance(error, _NoValueError):
        message = f"the attribute {name!r} is missing: {error}"
    log_once("unreadable", name, message)


def report_unreadable_context(error: Exception) -> None:
    """Logs once that a context cannot be read."""
    log_once("context", "", f"the context is ignored: reading it raised {place_of(error)}")


def report_reserved_name(name: str) -> None:
    """Logs once that the context names a built-in attribute."""
    log_once("reserved", name, f"context cannot set {name!r}, which is built in; use another name")


def report_no_unit(name: str) -> None:
    """Logs once that a number cannot be a bucketing unit."""
    log_once(
        "no unit",
        name,
        f"{name!r} is no bucketing unit where it has a fraction, or is a float from 2**53 on, so "
        "these users are in no percentage; use whole numbers or texts",
    )


def microseconds(value: datetime) -> int:
    """Returns the microseconds since 1970-01-01T00:00 UTC. A naive datetime is in TIME_ZONE.

    Computed without a datetime in UTC, which does not exist for `datetime.max` in zones west of it.
    """
    aware = value.replace(tzinfo=get_default_timezone()) if is_naive(value) else value
    since = value.replace(tzinfo=None) - _EPOCH - (aware.utcoffset() or timedelta())
    return since // _MICROSECOND


def utc_of(wall: int) -> int:
    """Returns the microseconds in UTC at which the clock of TIME_ZONE shows this time.

    Of two such times the first one; of a time that the clock skips, by the offset before.
    """
    return microseconds(_EPOCH + wall * _MICROSECOND)


def _after_setting(*, setting: str, **kwargs: object) -> None:
    if setting in ("FLAGSTAFF", "AUTH_USER_MODEL"):
        _core.reset_attributes()


setting_changed.connect(_after_setting)
