"""The attributes that FLAGSTAFF["ATTRIBUTES"] names, for the rules that the extension evaluates."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from inspect import iscoroutine
from threading import Lock
from typing import Any, Protocol, TypeAlias

from django.core.signals import setting_changed
from django.utils.module_loading import import_string
from django.utils.timezone import get_default_timezone, is_naive, make_aware

from flagstaff import _core
from flagstaff._engine.status_log import logger
from flagstaff._tables.names import user_field
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = [
    "RequestContext",
    "column_attributes",
    "computed_attributes",
    "microseconds",
    "note_evaluation",
    "read_settings",
    "report_needed_user",
    "report_reserved_name",
    "report_unreadable",
    "serving",
    "unusable_columns",
]

#: What the project's callable gets: a user, and the request or None.
_Source: TypeAlias = Callable[[Any, Any], object]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (as a naive one, to subtract from naive ones)
_MICROSECOND = timedelta(microseconds=1)
# Code may build names from user input, so their number has no limit of its own.
_MAX_LOGGED = 1000

_logged: set[tuple[str, str]] = set()


@dataclass
class _Computation:
    """A run of the callable in this thread or task."""

    has_evaluated: bool = False


_computation: ContextVar[_Computation | None] = ContextVar("flagstaff_computation", default=None)


class RequestContext(dict[str, object]):
    """The context of all evaluations of a request, and what the callable returns for its users.

    The callable runs once per user: a request may evaluate flags for several users.
    """

    def __init__(self, request: object) -> None:
        super().__init__()
        self._request = request
        self._computed: list[tuple[object, dict[str, object] | None]] = []
        self._lock = Lock()

    def attributes_of(self, user: object) -> dict[str, object] | None:
        """Returns what the callable returns for the user; None if it fails."""
        with self._lock:
            for known, attributes in self._computed:
                if known is user:
                    return attributes
            attributes = _compute(user, self._request)
            self._computed.append((user, attributes))
            return attributes


class _Served(Protocol):
    """What serves a request."""

    @property
    def context(self) -> RequestContext:
        """The context of the request, made at its first use."""


_served: ContextVar[_Served | None] = ContextVar("flagstaff_served", default=None)


@contextmanager
def serving(request: _Served) -> Iterator[None]:
    """Makes `flag_enabled(key, user)` use the attributes of a request while the block runs."""
    token = _served.set(request)
    try:
        yield
    finally:
        _served.reset(token)


def read_settings() -> tuple[dict[str, str], bool]:
    """Returns the attributes of the user object by their name, and whether there is a callable.

    Called by the extension. Raises ConfigurationError if a name is no column of the user model.
    """
    unusable = unusable_columns()
    if unusable:
        raise ConfigurationError(
            f'FLAGSTAFF["ATTRIBUTES"] names {unusable[0]!r}, which is no column of '
            f"{_user_model()._meta.label}; name columns of that model, or the path of a callable"
        )
    return column_attributes(), conf.attributes.callable is not None


def column_attributes() -> dict[str, str]:
    """Returns the attribute of the user object by the name of each column in ATTRIBUTES.

    A ForeignKey is read by the key that it holds, which needs no query.
    """
    fields = {field.name: field for field in _user_model()._meta.concrete_fields}
    columns = conf.attributes.columns
    return {name: fields[name].attname for name in columns if name in fields}


def unusable_columns() -> list[str]:
    """Returns the names in ATTRIBUTES that are no columns of the user model."""
    return [name for name in conf.attributes.columns if name not in column_attributes()]


def _user_model() -> Any:
    return user_field(conf.flag_model).model


def computed_attributes(user: object, call: object, snapshot: object) -> dict[str, object] | None:
    """Returns what the callable returns for the user; None if it fails or evaluates a flag.

    Called by the extension, with the context of the call and of its snapshot. Runs the callable
    once per request and user; outside a request, once per evaluation.
    """
    if _computation.get() is not None:
        return None
    for context in (call, snapshot):
        if isinstance(context, RequestContext):
            return context.attributes_of(user)
    served = _served.get()
    return _compute(user, None) if served is None else served.context.attributes_of(user)


def note_evaluation() -> None:
    """Records that the callable of this thread or task evaluates a flag."""
    computation = _computation.get()
    if computation is not None:
        computation.has_evaluated = True


def _compute(user: object, request: object) -> dict[str, object] | None:
    path, computation = str(conf.attributes.callable), _Computation()
    token = _computation.set(computation)
    try:
        source: _Source = import_string(path)
        attributes = source(user, request)
        if iscoroutine(attributes):
            attributes.close()
        if isinstance(attributes, Mapping) and not computation.has_evaluated:
            return dict(attributes)
    except Exception as error:  # noqa: BLE001 (the project's own code; an evaluation must not raise)
        problem = f"raised {_place_of(error)}"
    else:
        problem = (
            "evaluates a flag, which could need its attributes"
            if computation.has_evaluated
            else f"returned a {type(attributes).__name__}, not a mapping of names to values"
        )
    finally:
        _computation.reset(token)
    _log_once("callable", problem, f"{path} in ATTRIBUTES {problem}; its attributes are missing")
    return None


def report_unreadable(name: str, error: Exception) -> None:
    """Logs once that an attribute cannot be read."""
    _log_once(
        "unreadable",
        name,
        f"the attribute {name!r} is missing: reading it raised {_place_of(error)}",
    )


def report_needed_user(key: str) -> None:
    """Logs once per flag that its rules need the user object."""
    _log_once(
        "needed user",
        key,
        f"the rules of flag {key!r} need the user object, and the caller has passed a primary key: "
        "their conditions on its attributes are false; pass the user",
    )


def report_reserved_name(name: str) -> None:
    """Logs once that the context names a built-in attribute."""
    _log_once("reserved", name, f"context cannot set {name!r}, which is built in; use another name")


def _log_once(kind: str, name: str, message: str) -> None:
    if (kind, name) not in _logged and len(_logged) < _MAX_LOGGED:
        _logged.add((kind, name))
        logger.warning(message)


def _place_of(error: Exception) -> str:
    """Returns the type of an error and where it was raised. Its text may hold personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def microseconds(value: datetime) -> tuple[int, int]:
    """Returns the microseconds since 1970-01-01T00:00 in UTC and on the clock of TIME_ZONE.

    A naive datetime is in TIME_ZONE.
    """
    zone = get_default_timezone()
    aware = make_aware(value, zone) if is_naive(value) else value
    wall = value if is_naive(value) else aware.astimezone(zone).replace(tzinfo=None)
    utc = aware.astimezone(timezone.utc).replace(tzinfo=None)
    return (utc - _EPOCH) // _MICROSECOND, (wall - _EPOCH) // _MICROSECOND


def _after_setting(*, setting: str, **kwargs: object) -> None:
    if setting in ("FLAGSTAFF", "AUTH_USER_MODEL"):
        _core.reset_attributes()


setting_changed.connect(_after_setting)
