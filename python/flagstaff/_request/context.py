"""The context of a request, its visitor, and what the callable of ATTRIBUTES returns for users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from inspect import iscoroutine
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed
from django.db import DatabaseError
from django.db.models import Model
from django.utils.module_loading import import_string

from flagstaff import _core
from flagstaff._connection import DATABASE_ERRORS
from flagstaff._log import log_once, place_of
from flagstaff._request.visitor import visitor_of_request
from flagstaff._tables.attributes import counted_objects, keys_by_path
from flagstaff._tables.rows import VISITOR
from flagstaff._text import local_list, quoted, say
from flagstaff._types import Context
from flagstaff.conf import BUILT_IN, conf
from flagstaff.extensions import CRAWLERS, ORIGINS

#: What the project's callable gets: a user and the request, or None for each.
_Source: TypeAlias = Callable[[Any, Any], object]
# The users of one request whose attributes are kept.
_MAX_USERS = 1000


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
        """Returns what the callable returns for the user, or without one; None if it fails.

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


def observed_context() -> RequestContext | None:
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
    return observed_context()


async def prepare_attributes(
    context: RequestContext, user: object, names: Iterable[str], passed_context: Context
) -> None:
    """Runs the callable in a thread if rules read one of `names` from it.

    It may query the database, which Django forbids in an event loop.
    """
    sources = conf.attributes
    if not names or sources.callable is None:
        return
    known_names = {*BUILT_IN, VISITOR, *sources.columns, *context, *(passed_context or ())}
    if not known_names.issuperset(names):
        is_saved = getattr(user, "pk", None) is not None
        await sync_to_async(context.attributes_of)(user if is_saved else None)


def computed_attributes(user: object, call: object, snapshot: object) -> dict[str, object] | None:
    """Returns what the callable returns for the user; None if it fails or evaluates a flag.

    Raises an error of the database. Called by the extension, with the context of the call and of
    its snapshot; for an anonymous user and a bare primary key, with None as the user. Runs the
    callable once per request and user; outside a request, once per evaluation.
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
    if user is None:
        problem = f"{problem}, for None as the user"
    log_once("callable", problem, f"{path} in ATTRIBUTES {problem}; its attributes are missing")
    return None


def with_objects(context: dict[str, Any], user: object) -> tuple[dict[str, Any], list[str]]:
    """Returns a typed context with what the paths of ATTRIBUTES lead to, and a note of that.

    For a person who looks at a stored user. The context and the function take precedence. Queries.
    """
    if not isinstance(user, Model) or not counted_objects():
        return context, []
    has_callable = conf.attributes.callable is not None
    computed = computed_attributes(user, None, None) if has_callable else None
    by_path = keys_by_path(user, {*context, *(computed or ())})
    note = say(
        "Read by the path in ATTRIBUTES, as users are counted: {names}. An evaluation needs it "
        "from the context or the function of ATTRIBUTES.",
        names=local_list(map(quoted, by_path)),
    )
    return {**by_path, **context}, [note.local] if by_path else []


def note_evaluation() -> None:
    """Records that the callable of this thread or task evaluates a flag."""
    computation = _computation.get()
    if computation is not None:
        computation.has_evaluated = True


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


def _after_setting(*, setting: str, **kwargs: object) -> None:
    if setting == "FLAGSTAFF":
        _names_crawler.cache_clear()


setting_changed.connect(_after_setting)
