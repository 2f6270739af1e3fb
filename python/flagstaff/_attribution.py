"""Who writes and why: the attribution of the current thread or task.

It is passed to the triggers in parameters that are local to the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import _GeneratorContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache, partial
from inspect import isasyncgenfunction, isfunction, isgeneratorfunction
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.signals import setting_changed
from django.core.signing import BadSignature, TimestampSigner
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection import is_postgresql, run
from flagstaff._tables.database import db, flag_names, segment_names, value_names
from flagstaff._tables.rows import segment_model
from flagstaff._tables.user_lookup import ACTS_AS, LOADDATA
from flagstaff._text import as_stored, storable
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

#: Returns the attribution of a write. A function, so that a lazy `request.user` is loaded only if
#: something is written.
Attribution = Callable[[], dict[str, str]]

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_current: ContextVar[Attribution | None] = ContextVar("flagstaff_attribution", default=None)

# Also finds these words in comments and in FOR UPDATE: the attribution is then set too early.
_WRITE = re.compile(r"\b(?:insert|update|delete|truncate|merge)\b")
_ROLLBACK = re.compile(r"\brollback\b", re.IGNORECASE)
# Some forms of these statements cannot run in a transaction block.
_NO_BLOCK = re.compile(
    r"\s*(?:alter|analyze|call|cluster|create|do|drop|reindex|vacuum)\b", re.IGNORECASE
)
# Two transaction statuses, which have the same numbers in both drivers.
_IDLE = 0
_IN_ERROR = 3


def attribution(actor: object = None, *, source: str = "", reason: str = "") -> dict[str, str]:
    """Returns the configuration parameters that the triggers read.

    `actor` is a user, of which the primary key is taken, or a name. Characters that the server
    cannot store are replaced: they must not fail the change.
    """
    pk = getattr(actor, "pk", actor)
    return {
        "flagstaff.actor": "" if pk is None else storable(str(pk)),
        **_source(source),
        "flagstaff.reason": storable(as_stored(reason)),
    }


def actor_of(request: Any) -> object:
    """Returns the user of a request. If an operator acts as the user, returns both: "1 as 42"."""
    user = getattr(request, "user", None)
    operator = _operator_of(getattr(request, "session", {}))
    pk = None if operator is None else getattr(user, "pk", None)
    return user if pk is None else f"{operator}{ACTS_AS}{pk}"


def _operator_of(session: Mapping[str, Any]) -> str | None:
    """Returns the primary key that django-hijack or django-loginas keeps of the operator."""
    # The first one: an operator may act as a user who acts as another.
    if history := session.get("hijack_history"):
        return str(history[0])
    signed = session.get(getattr(settings, "LOGINAS_FROM_USER_SESSION_FLAG", "loginas_from_user"))
    try:
        return TimestampSigner().unsign(signed) if signed else None
    except BadSignature:
        return None


def current_attribution() -> Attribution | None:
    """Returns the current attribution, or None outside `attributed`."""
    return _current.get()


def current_actor() -> str:
    """Returns the actor that the present changes are attributed to, or an empty text."""
    return _current_value("flagstaff.actor")


def current_reason() -> str:
    """Returns the reason that the present changes are attributed with, or an empty text."""
    return _current_value("flagstaff.reason")


def current_author() -> str:
    """Returns the actor, or else the source, such as "command (ana@web-1)", or an empty text."""
    return current_actor() or current_source()


def current_source() -> str:
    """Returns the source that the present changes are attributed to, or an empty text."""
    return _current_value("flagstaff.source")


@contextmanager
def attributed(current: Attribution | None) -> Iterator[None]:
    """Attributes the writes in the block. None attributes them to no actor."""
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def from_source(source: str) -> Iterator[None]:
    """Attributes the writes in the block to a source, with the present actor and reason."""
    current = current_attribution() or attribution
    with attributed(lambda: {**current(), **_source(source)}):
        yield


def _source(source: str) -> dict[str, str]:
    return {"flagstaff.source": storable(source)}


_NO_ACTOR = attribution()
_SET_ATTRIBUTION = "SELECT " + ", ".join(
    f"pg_catalog.set_config('{name}', %s, true)" for name in _NO_ACTOR
)


def _current_value(name: str) -> str:
    current = current_attribution()
    if current is None:
        return ""
    # Loading a lazy request.user may write, which has no actor.
    with attributed(None):
        return current()[name]


def acting_as(
    user: object, *, reason: str = "", source: str = "code"
) -> _GeneratorContextManager[None]:
    """Attributes the changes of flags and values in the block to a user, with a reason.

    `user` is a user or a name such as "deploy". The block is one transaction: its changes are
    committed at its end, and rolled back if it raises.

        with acting_as("deploy", reason="release 42"):
            FeatureFlag.objects.filter(key="new_checkout").update(enabled=True)

    Also a decorator of functions. Raises TypeError if `user` is a function, and as a decorator of
    a coroutine function or a generator.
    """
    if isfunction(user):
        raise TypeError('acting_as needs a user or a name: write @acting_as("deploy")')
    return _ActingAs(_acting_as, (user,), {"reason": reason, "source": source})


class _ActingAs(_GeneratorContextManager[None]):
    def __call__(self, func: _Decorated) -> _Decorated:
        is_late = iscoroutinefunction(func) or isgeneratorfunction(func) or isasyncgenfunction(func)
        if is_late:
            raise TypeError(
                f"acting_as would end before {func.__qualname__} runs, which is a coroutine "
                'function or a generator; write "with acting_as(…):" in a synchronous function, '
                "which sync_to_async can call"
            )
        return super().__call__(func)


def _acting_as(user: object, *, reason: str, source: str) -> Generator[None, None, None]:
    current = attribution(user, source=source, reason=reason)
    connection = db.connection
    writes = wrap_connection(connection)
    with (
        transaction.atomic(using=connection.alias),
        attributed(lambda: current),
        writes.changed(connection, current) if writes else nullcontext(),
    ):
        yield


def wrap_connection(
    connection: BaseDatabaseWrapper, **kwargs: object
) -> ConnectionAttribution | None:
    """Attributes the writes of a connection to PostgreSQL; a receiver of `connection_created`."""
    if not is_postgresql(connection):
        return None
    for wrapper in connection.execute_wrappers:
        if isinstance(wrapper, ConnectionAttribution):
            return wrapper
    new_wrapper = ConnectionAttribution()
    # At the front, because an open `connection.execute_wrapper` block removes the last one.
    connection.execute_wrappers.insert(0, new_wrapper)
    return new_wrapper


def note_load(using: str, *, raw: bool, **_: object) -> None:
    """Tells the connection that `loaddata` saves a row; a receiver of `pre_save`."""
    connection = connections[using]
    # Without a transaction nothing says where the load ends.
    writes = wrap_connection(connection) if raw and connection.in_atomic_block else None
    if writes:
        writes.begin_load(connection)


class ConnectionAttribution:
    """Sets the attribution before a statement that writes to a watched table, where it changes."""

    def __init__(self) -> None:
        # What was set in the open transaction: None if nothing was, empty if it is not known.
        self._present: dict[str, str] | None = None
        # Django's list of hooks, which it replaces when a transaction ends or is rolled back.
        self._hooks: object = None
        # The savepoints and the hooks when `loaddata` last saved a row.
        self._load: tuple[list[str | None], object] | None = None

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: object,
        params: object,
        many: bool,  # noqa: FBT001 (Django's signature)
        context: dict[str, Any],
    ) -> Any:
        """Executes a statement; one of Django's `execute_wrappers`."""
        current, connection = current_attribution(), context["connection"]
        if current is None and self._load is not None:
            current = self._attribution_of_load(connection)
        # A cursor may outlive its connection; Django then raises its own error.
        if connection.connection is None or (current is None and self._present is None):
            return execute(sql, params, many, context)
        # The driver's composed statements have a method that returns their text.
        text = sql.as_string(connection.connection) if hasattr(sql, "as_string") else str(sql)
        self._forget(connection)
        # Once something is set, any statement may write, such as one that calls a function.
        if self._present is None and (current is None or not _is_watched_write(text)):
            return execute(sql, params, many, context)
        # A failed transaction refuses more statements, and some statements refuse a BEGIN before.
        if _is_failed(connection) or (_is_alone(connection) and _NO_BLOCK.match(text)):
            return execute(sql, params, many, context)
        # Loading a lazy request.user may write (to the session, for example), which has no actor.
        with attributed(None):
            wanted = current() if current else _NO_ACTOR
        with _transaction(connection):
            self.change(connection, wanted)
            if _ROLLBACK.search(text):
                # The statement may undo what was just set.
                self._present = {}
            return execute(sql, params, many, context)

    def begin_load(self, connection: BaseDatabaseWrapper) -> None:
        """Attributes what has no other attribution to `loaddata`, until its block ends."""
        self._load = [*connection.savepoint_ids], connection.run_on_commit

    def _attribution_of_load(self, connection: BaseDatabaseWrapper) -> Attribution | None:
        savepoints, hooks = cast("tuple[list[str | None], object]", self._load)
        present = connection.savepoint_ids
        is_inside = connection.in_atomic_block and present[: len(savepoints)] == savepoints
        if not is_inside or hooks is not connection.run_on_commit:
            self._load = None
            return None
        # Django saves a row without savepoints; each of `flagstaff.changes` has one of its own.
        has_own_savepoint = any(present[len(savepoints) :])
        return None if has_own_savepoint else partial(attribution, source=LOADDATA)

    def change(self, connection: BaseDatabaseWrapper, wanted: dict[str, str]) -> None:
        """Sets the parameters until the end of the transaction."""
        self._forget(connection)
        if wanted != (_NO_ACTOR if self._present is None else self._present):
            # In a failed transaction Django raises its own error.
            connection.validate_no_broken_transaction()
            run(connection, _SET_ATTRIBUTION, [*wanted.values()])
            self._present, self._hooks = wanted, connection.run_on_commit

    @contextmanager
    def changed(self, connection: BaseDatabaseWrapper, wanted: dict[str, str]) -> Iterator[None]:
        """Sets the parameters at once: nothing recognizes the writes of COPY and SQL functions.

        Afterwards they are as before. So no later statement needs the outer attribution, which may
        have to load a lazy request.user first.
        """
        self._forget(connection)
        outer, is_inner = self._present, bool(connection.savepoint_ids)
        self.change(connection, wanted)
        try:
            yield
            # A rollback, or the end of the transaction, resets them by itself.
            if is_inner and not _is_failed(connection):
                self.change(connection, outer or _NO_ACTOR)
                outer = outer or None
        finally:
            self._present = outer

    def _forget(self, connection: BaseDatabaseWrapper) -> None:
        """Forgets what was set in a transaction that has ended, or may have been rolled back."""
        if self._present is None:
            return
        # First, because a pipeline may be idle between two statements of one transaction.
        if _is_in_a_pipeline(connection):
            self._present = {}
        elif _is_idle(connection):
            self._present = None
        elif self._hooks is not connection.run_on_commit or _is_failed(connection):
            self._present = {}


def _is_idle(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection is in no transaction."""
    return bool(connection.connection.info.transaction_status == _IDLE)


def _is_failed(connection: BaseDatabaseWrapper) -> bool:
    """Whether the transaction must be rolled back, at least to a savepoint."""
    status = connection.connection.info.transaction_status
    return bool(connection.needs_rollback or status == _IN_ERROR)


def _is_alone(connection: BaseDatabaseWrapper) -> bool:
    """Whether the next statement is its own transaction. A pipeline is one already."""
    return (
        _is_idle(connection) and connection.get_autocommit() and not _is_in_a_pipeline(connection)
    )


def _is_in_a_pipeline(connection: BaseDatabaseWrapper) -> bool:
    """Whether psycopg 3 is in pipeline mode, in which errors come later."""
    return bool(getattr(getattr(connection.connection, "pgconn", None), "pipeline_status", 0))


def _is_watched_write(text: str) -> bool:
    folded = text.lower()
    # A loop, because most statements get no further and any() costs more.
    for table in _watched_tables():
        if table in folded:
            return _WRITE.search(folded) is not None
    return False


@cache
def _watched_tables() -> tuple[str, ...]:
    """Returns the names of the tables without schema and quotes, which SQL may leave out."""
    try:
        connection = db.connection
        flags = flag_names(connection, conf.flag_model)
        values = value_names(connection, conf.value_model)
    except ConfigurationError:
        # A system check reports it. A write must not fail because it cannot be attributed.
        return ()
    tables = (
        flags["flag_table"],
        flags["allowed_users_table"],
        values["value_table"],
        segment_names(connection, segment_model())["segment_table"],
    )
    return tuple(table.strip('"').split('"."')[-1].lower() for table in tables)


@contextmanager
def _transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Opens a transaction for the parameters around a statement in autocommit mode.

    Not Django's, whose statements would count as queries of the caller.
    """
    if not _is_alone(connection):
        yield
        return
    run(connection, "BEGIN")
    try:
        yield
    except BaseException:
        with suppress(Error):
            run(connection, "ROLLBACK")
        raise
    run(connection, "COMMIT")


setting_changed.connect(
    lambda **_: _watched_tables.cache_clear(), weak=False, dispatch_uid="flagstaff.attribution"
)
