"""The attributes that FLAGSTAFF["ATTRIBUTES"] names, for the rules that the extension evaluates."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from inspect import iscoroutine
from operator import index
from typing import Any, SupportsIndex, TypeAlias

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.db.models.manager import BaseManager
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string
from django.utils.timezone import get_default_timezone, is_naive

from flagstaff import _core
from flagstaff._core import monotonic
from flagstaff._engine.log_once import log_each_minute, log_once, place_of
from flagstaff._engine.visitor_cookie import visitor_of_request
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.names import user_field
from flagstaff._types import Context, UserLike
from flagstaff.conf import BUILT_IN, conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.extensions import CRAWLERS, ORIGINS

#: What the project's callable gets: a user, and the request or None.
_Source: TypeAlias = Callable[[Any, Any], object]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (as a naive one, to subtract from naive ones)
_MICROSECOND = timedelta(microseconds=1)
# The users of one request whose attributes are kept.
_MAX_USERS = 1000
# What drivers raise if the database is away. All other errors are those of the project's code.
DATABASE_ERRORS = (InterfaceError, OperationalError)
# Where a user object keeps that it could not be read: the error, the request, and the time.
_FAILURE = "_flagstaff_failure"
# Seconds until an object is read again that is not that of one request.
_RETRY_AFTER = 5.0
# The transaction status "in error", which has the same number in both drivers.
_IN_ERROR = 3
# The class of SQLSTATEs of a transaction that is to be repeated: a deadlock, for example.
_ROLLED_BACK = "40"
# The error code of SQLite for wrong SQL, such as a table that does not exist.
_SQLITE_ERROR = 1
# Objects that are no values: their text would query the database, or names only their type.
_NO_VALUES = (QuerySet, BaseManager, Iterator, Mapping, MappingView, deque)


@dataclass
class _Computation:
    """A run of the callable in this thread or task."""

    has_evaluated: bool = False


_computation: ContextVar[_Computation | None] = ContextVar("flagstaff_computation", default=None)


class RequestContext(dict[str, object]):
    """The context of all evaluations of a request, its visitor, and what the callable returns.

    The callable runs once per user, because a request may evaluate flags for several users. Two
    threads that need it at the same time may both run it; a lock could deadlock with the
    project's code.
    """

    def __init__(self, request: object) -> None:
        super().__init__()
        #: The id of the visitor; None until an evaluation needs it. Read by the extension.
        self.visitor_id: str | None = None
        #: The request, also for the end of what is measured.
        self.request = request
        self._is_crawler: bool | None = None
        self._computed: dict[tuple[type, str], dict[str, object] | Exception | None] = {}

    def __reduce__(self) -> tuple[type[dict[str, object]], tuple[dict[str, object]]]:
        """Pickles and copies only the context, for example as the argument of a task."""
        return dict, (dict(self),)

    def visitor(self, draw: bool) -> str | None:  # noqa: FBT001 (called by the extension)
        """Returns the id of the visitor, or with `draw` a new one; None if there can be none."""
        if self.visitor_id is None:
            visitor = visitor_of_request(self.request)
            self.visitor_id = visitor.id_for(self.request, draw=draw)
        return self.visitor_id

    def visitor_has_returned(self) -> bool:
        """Whether the id is that of the cookie, and not a new one."""
        return visitor_of_request(self.request).has_returned

    def is_crawler(self, names_crawler: Callable[[object], bool]) -> bool:
        """Whether the function of an app names the request. Runs the function once."""
        if self._is_crawler is None:
            # Before: it may evaluate the experiment itself.
            self._is_crawler = False
            self._is_crawler = names_crawler(self.request)
        return self._is_crawler

    def attributes_of(self, user: object) -> dict[str, object] | None:
        """Returns what the callable returns for the user; None if it fails.

        Raises an error of the database.
        """
        # By key: `request.user` and `await request.auser()` are two objects.
        key = user.__class__, str(getattr(user, "pk", None))
        if key in self._computed:
            return _returned(self._computed[key])
        attributes: dict[str, object] | Exception | None
        try:
            attributes = _compute(user, self.request)
        except SynchronousOnlyOperation:
            # In an event loop; a thread may still succeed.
            return None
        except DATABASE_ERRORS as error:
            # Kept: each other flag of the request would wait for the database again.
            attributes = error
        if len(self._computed) >= _MAX_USERS:
            return _returned(attributes)
        return _returned(self._computed.setdefault(key, attributes))


def _returned(computed: dict[str, object] | Exception | None) -> dict[str, object] | None:
    """Returns what the callable has returned, or raises what it has raised."""
    if isinstance(computed, Exception):
        raise computed
    return computed


def _observed_context() -> RequestContext | None:
    """Returns the context of the request that is handled, which is made at its first use."""
    request = _core.observed_request()
    return None if request is None else request.context


def _context_of_request(call: object, snapshot: object) -> RequestContext | None:
    """Returns the context of the request of an evaluation; None outside a request.

    `call` and `snapshot` are the context of the call and of its snapshot.
    """
    for context in (call, snapshot):
        if isinstance(context, RequestContext):
            return context
    return _observed_context()


async def prepare_attributes(
    context: RequestContext, user: object, names: Iterable[str], passed_context: Context
) -> None:
    """Runs the callable in a thread if rules read one of `names` from it.

    It may query the database, which Django forbids in an event loop.
    """
    sources = conf.attributes
    if not names or sources.callable is None or getattr(user, "pk", None) is None:
        return
    known_names = {*BUILT_IN, VISITOR, *sources.columns, *context, *(passed_context or ())}
    if not known_names.issuperset(names):
        await sync_to_async(context.attributes_of)(user)


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


def computed_attributes(user: object, call: object, snapshot: object) -> dict[str, object] | None:
    """Returns what the callable returns for the user; None if it fails or evaluates a flag.

    Raises an error of the database. Called by the extension, with the context of the call and of
    its snapshot. Runs the callable once per request and user; outside a request, once per
    evaluation.
    """
    if _computation.get() is not None:
        return None
    context = _context_of_request(call, snapshot)
    if context is not None:
        return context.attributes_of(user)
    try:
        return _compute(user, None)
    except SynchronousOnlyOperation:
        return None


def visitor_of(call: object, snapshot: object, draw: bool) -> str | None:  # noqa: FBT001
    """Returns the id of the visitor of the request that is served; None without one.

    Called by the extension, with the context of the call and of its snapshot.
    """
    context = _context_of_request(call, snapshot)
    return None if context is None else context.visitor(draw)


def visitor_has_returned(call: object, snapshot: object) -> bool | None:
    """Whether the browser has sent the cookie of the visitor back; None without a request.

    Called by the extension, with the context of the call and of its snapshot.
    """
    context = _context_of_request(call, snapshot)
    return None if context is None else context.visitor_has_returned()


def is_crawler(call: object, snapshot: object) -> bool | None:
    """Whether the request of an evaluation is of a crawler; None if no app knows crawlers.

    False outside a request. Called by the extension, with the context of the call and of its
    snapshot.
    """
    names_crawler = _names_crawler()
    if names_crawler is None:
        return None
    context = _context_of_request(call, snapshot)
    return context is not None and context.is_crawler(names_crawler)


@cache
def _names_crawler() -> Callable[[object], bool] | None:
    return next((names_crawler for find in CRAWLERS if (names_crawler := find())), None)


def origin_of(flags: Any) -> tuple[bytes | None, int | None]:
    """Returns where the request came from, as an app says. Called by the extension."""
    return _origin_of()(flags)


@cache
def _origin_of() -> Callable[[Any], tuple[bytes | None, int | None]]:
    return next(iter(ORIGINS), lambda _flags: (None, None))


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
    except SynchronousOnlyOperation:
        log_once(
            "callable",
            "event loop",
            f"{path} in ATTRIBUTES queries the database in an event loop, so its attributes are "
            "missing; evaluate with request.flags.aenabled() or in a thread",
        )
        raise
    except DATABASE_ERRORS:
        raise
    except DatabaseError as error:
        problem = f"raised {place_of(error)}, which aborts an open transaction"
    except Exception as error:
        if isinstance(error, RecursionError | MemoryError):
            raise
        problem = f"raised {place_of(error)}"
    else:
        problem = (
            "evaluates a flag, which it must not do"
            if computation.has_evaluated
            else f"returned a {type(attributes).__name__}, not a mapping of names to values"
        )
    finally:
        _computation.reset(token)
    _log_callable(path, problem)
    return None


def _log_callable(path: str, problem: str) -> None:
    log_once("callable", problem, f"{path} in ATTRIBUTES {problem}; its attributes are missing")


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


def is_database_error(error: BaseException) -> bool:
    """Whether a driver has raised the error because the database is away."""
    return isinstance(error, DATABASE_ERRORS)


def report_database_error(error: Exception) -> bool:
    """Logs that the user or an attribute cannot be read. Called by the extension.

    Returns False if the error has to be raised: it has left a transaction broken, whose end would
    silently be a rollback, or it is an answer to the project's query.
    """
    if _must_rise(error):
        return False
    for connection in connections.all(initialized_only=True):
        _close_if_lost(connection)
    log_each_minute(
        "database",
        f"the database failed while a user or an attribute was read ({place_of(error)}); "
        "evaluations that need it return their default until it is back",
    )
    return True


def _must_rise(error: Exception) -> bool:
    present = connections.all(initialized_only=True)
    return _is_for_the_project(error) or any(map(_has_broken_transaction, present))


def _is_for_the_project(error: Exception) -> bool:
    """Whether a database that works has refused the query: to be repeated, or as wrong SQL."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    is_wrong_for_sqlite = getattr(cause, "sqlite_errorcode", None) == _SQLITE_ERROR
    return str(state).startswith(_ROLLED_BACK) or is_wrong_for_sqlite


def _close_if_lost(connection: BaseDatabaseWrapper) -> None:
    """Closes a connection that was lost: outside of a request, Django would keep it for ever.

    Reads what the driver knows: Django's own methods would connect, query or raise.
    """
    is_lost = getattr(connection.connection, "closed", False)
    if is_lost and connection.autocommit and not connection.in_atomic_block:
        # The event loop closes no connection; its own are those of threads.
        with suppress(SynchronousOnlyOperation):
            connection.close()


def _has_broken_transaction(connection: BaseDatabaseWrapper) -> bool:
    info = getattr(connection.connection, "info", None)
    return connection.needs_rollback or getattr(info, "transaction_status", None) == _IN_ERROR


@contextmanager
def once_per_request(user: object) -> Iterator[None]:
    """A block that reads the user. If the database is away, only the first one waits for it.

    The later ones of the request raise its error. The object keeps it: a request has its own.
    """
    members = getattr(user, "__dict__", {})
    error, context, at = members.get(_FAILURE, (None, None, 0.0))
    is_of_request = context is not None and context is _observed_context()
    if error is not None and (is_of_request or monotonic() - at < _RETRY_AFTER):
        raise error
    try:
        yield
    except DATABASE_ERRORS as error:
        if not _must_rise(error):
            members[_FAILURE] = error, _observed_context(), monotonic()
        raise


def load_lazy_user(user: Any) -> None:
    """Loads a lazy user. Called by the extension.

    In an event loop, the error of Django also says what to call instead.
    """
    try:
        with once_per_request(user):
            user._setup()  # noqa: SLF001 (Django's)
    except SynchronousOnlyOperation as error:
        advice = (
            "flagstaff reads the user of the request here; in async code, "
            'call "await request.flags.aenabled(…)", "await request.flags.avalue(…)", or pass '
            '"await request.auser()" as the user'
        )
        if sys.version_info >= (3, 11):
            error.add_note(advice)
        else:
            error.args = (f"{error}\n{advice}",)
        raise


def unreadable_user(error: Exception) -> UserLike:
    """Returns a user in place of one that could not be read: an evaluation that needs it fails."""

    def fail() -> object:
        raise error

    return SimpleLazyObject(fail)


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
        _names_crawler.cache_clear()


setting_changed.connect(_after_setting)
