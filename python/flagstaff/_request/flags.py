"""`request.flags`: all evaluations of one request, from one snapshot."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from inspect import isawaitable
from typing import Any, Final, TypeAlias, TypeVar, overload

from django.conf import settings
from django.http import HttpRequest

from flagstaff import _core
from flagstaff._connection import DATABASE_ERRORS
from flagstaff._log import log_once
from flagstaff._request.context import RequestContext, prepare_attributes
from flagstaff._request.user import once_per_request, unreadable_user
from flagstaff._text import say
from flagstaff._text.times import local_time_text
from flagstaff._types import Context, UserLike

_T = TypeVar("_T")

#: A context, or a function that returns it for a request; for async views, it may be async.
ContextSource: TypeAlias = Context | Callable[[Any], Any]

#: The default of a template tag: the user of the request. None means no user.
REQUEST_USER: Final = object()

#: The names of the cookie with what a browser previews: without https, and with it.
PREVIEW_COOKIES: Final = ("flagstaff_preview", "__Host-flagstaff_preview")


@dataclass(frozen=True)
class PreviewedFlag:
    """A flag that one browser previews."""

    is_on: bool
    #: What identifies the row as it was then: another write ends the preview.
    version: str
    #: When the preview ends, in seconds since 1970.
    until: int

    @property
    def end_text(self) -> str:
        """The time when the preview ends."""
        return local_time_text(datetime.fromtimestamp(self.until, timezone.utc))


@dataclass(frozen=True)
class Preview:
    """What the user of a request previews. It was checked."""

    flags: Mapping[str, PreviewedFlag]
    #: The address of the admin that ends it.
    url: str

    def texts(self) -> list[str]:
        """Returns what is previewed until when, in the active language."""
        on, off = say("{key} on until {time}"), say("{key} off until {time}")
        return [
            say(on if flag.is_on else off, key=key, time=flag.end_text).local
            for key, flag in self.flags.items()
        ]


class RequestFlags:
    """The flags of a request's user, and the values, from one snapshot.

    The first evaluation takes the snapshot, so a request without evaluations costs nothing.

        request.flags.enabled("new_checkout")
        request.flags.value("payment_gateway", "stripe")

    Templates may use `{{ request.flags.new_checkout }}`, for keys without a dot.
    """

    #: What the user previews in this browser.
    preview: Preview | None = None

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def snapshot(self) -> _core.Snapshot:
        """The snapshot of all evaluations of this request."""
        return _core.snapshot(context=self.context)

    @property
    def context(self) -> RequestContext:
        """A dict of attributes for all evaluations of this request, which code may change.

        request.flags.context["country"] = request.headers.get("CF-IPCountry")
        """
        return _context_of(self._request)

    @context.setter
    def context(self, value: Mapping[str, object]) -> None:
        # The same object, because the snapshot and the attributes of users belong to it.
        new, context = dict(value), self.context
        context.clear()
        context.update(new)

    @property
    def visitor(self) -> str | None:
        """The id of the visitor, to pass to a task. Creates one if the browser has none.

        send_offer.delay(order.pk, context={"visitor": request.flags.visitor})

        None without consent, and in the body of a streaming response for a new browser.
        """
        return self.context.visitor(draw=True)

    @property
    def _user(self) -> UserLike:
        return getattr(self._request, "user", None)

    def enabled(self, key: str, *, default: bool = False, context: Context = None) -> bool:
        """Returns whether the request's user has the flag."""
        return self.snapshot.flag_enabled(key, self._user, default=default, context=context)

    async def aenabled(self, key: str, *, default: bool = False, context: Context = None) -> bool:
        """The same for async views: reads the user by `request.auser()`."""
        user = await user_of(self._request, key, self.snapshot, context)
        return self.snapshot.flag_enabled(key, user, default=default, context=context)

    @overload
    def value(self, key: str, default: None = None, *, context: Context = None) -> Any: ...
    @overload
    def value(self, key: str, default: _T, *, context: Context = None) -> Any | _T: ...
    def value(self, key: str, default: object = None, *, context: Context = None) -> Any:
        """Returns the value `key` for the request's user, or `default` if there is none.

        The user is read only if the rules of the value need it.
        """
        return self.snapshot.get_value(key, default, user=self._user, context=context)

    @overload
    async def avalue(self, key: str, default: None = None, *, context: Context = None) -> Any: ...
    @overload
    async def avalue(self, key: str, default: _T, *, context: Context = None) -> Any | _T: ...
    async def avalue(self, key: str, default: object = None, *, context: Context = None) -> Any:
        """The same for async views: reads the user by `request.auser()`."""
        user = await user_of(self._request, key, self.snapshot, context)
        return self.snapshot.get_value(key, default, user=user, context=context)

    @overload
    def variant(self, key: str, default: None = None, *, context: Context = None) -> str | None: ...
    @overload
    def variant(self, key: str, default: _T, *, context: Context = None) -> str | _T: ...
    def variant(self, key: str, default: object = None, *, context: Context = None) -> Any:
        """Returns the variant of an experiment for the request's user, and records it."""
        return self.snapshot.get_variant(key, self._user, default=default, context=context)

    def all(self, *, context: Context = None) -> dict[str, bool]:
        """Returns the results of all flags for the request's user."""
        return self.snapshot.all_flags(self._user, context=context)

    async def aall(self, *, context: Context = None) -> dict[str, bool]:
        """The same for async views: reads the user by `request.auser()`."""
        user = await _read_user(self._request, self.snapshot.attribute_names(), context)
        return self.snapshot.all_flags(user, context=context)

    def client_side(self) -> dict[str, bool]:
        """Returns the results of the flags with `client_side` set."""
        return self.snapshot.all_flags(self._user, client_side=True)

    def __getitem__(self, key: str) -> bool:
        """The same as `enabled`, for the dot in templates."""
        return self.enabled(key)


def flags_of(request: HttpRequest) -> RequestFlags:
    """Returns `request.flags`. Sets it if the middleware is not installed."""
    flags = getattr(request, "flags", None)
    if not isinstance(flags, RequestFlags):
        flags = request.flags = RequestFlags(request)  # type: ignore[attr-defined]
    return flags


def observed_snapshot() -> tuple[_core.Snapshot, UserLike] | None:
    """Returns the snapshot and the user of the request that is handled now; None outside of one."""
    flags = _core.observed_request()
    if not isinstance(flags, RequestFlags):
        return None
    return flags.snapshot, flags._user  # noqa: SLF001 (ours)


async def aobserved_snapshot(key: str, context: Context) -> tuple[_core.Snapshot, UserLike] | None:
    """The same for async code: reads the user by `request.auser()` if the flag depends on it."""
    flags = _core.observed_request()
    if not isinstance(flags, RequestFlags):
        return None
    user = await user_of(flags._request, key, flags.snapshot, context)  # noqa: SLF001 (ours)
    return flags.snapshot, user


def evaluator_of(request: object) -> Evaluator:
    """Returns the snapshot of `request.flags`, or else an evaluator of the newest snapshot.

    Both evaluate in the context of the request.
    """
    flags = getattr(request, "flags", None)
    if isinstance(flags, RequestFlags):
        return flags.snapshot
    # A template may have a variable of this name that is no request.
    return _Newest(request) if hasattr(request, "META") else _core.snapshot()


def snapshot_of(request: HttpRequest) -> _core.Snapshot:
    """Returns the snapshot of `request.flags`, or else the newest one, in the request's context."""
    flags = getattr(request, "flags", None)
    if isinstance(flags, RequestFlags):
        return flags.snapshot
    return _core.snapshot(context=_context_of(request))


def in_request(request: object) -> AbstractContextManager[object]:
    """Returns a block whose evaluations have the context of a request, if there is one.

    Within the middleware they have it anyway.
    """
    if _core.observed_request() is not None or not hasattr(request, "META"):
        return nullcontext()
    return _core.Observation(_Newest(request), is_counted=False)


class _Newest:
    """Evaluates the newest snapshot for a request without `request.flags`."""

    def __init__(self, request: object) -> None:
        self._request = request

    @property
    def context(self) -> RequestContext:
        return _context_of(self._request)

    def flag_enabled(self, key: str, user: UserLike = None, **options: Any) -> bool:
        with _core.Observation(self, is_counted=False):
            return _core.flag_enabled(key, user, **options)

    def get_value(self, key: str, default: Any = None, **options: Any) -> Any:
        with _core.Observation(self, is_counted=False):
            return _core.get_value(key, default, **options)

    def get_variant(self, key: str, user: UserLike = None, **options: Any) -> Any:
        with _core.Observation(self, is_counted=False):
            return _core.get_variant(key, user, **options)

    def depends_on_user(self, key: str) -> bool:
        return _core.current(key).depends_on_user(key)


#: A snapshot, or an evaluator of the newest snapshot.
Evaluator: TypeAlias = _core.Snapshot | _Newest


def _context_of(request: Any) -> RequestContext:
    """Returns the context of a request, which is kept on it."""
    # The request of Django REST framework wraps one of Django.
    request = getattr(request, "_request", request)
    context = getattr(request, "_flagstaff_context", None)
    if not isinstance(context, RequestContext):
        context = RequestContext(request)
        request._flagstaff_context = context  # noqa: SLF001 (ours, on an object of Django's)
    return context


class _NoRequest:
    """In place of a request that is not the one of the users."""

    context = None


def without_request() -> _core.Observation:
    """Returns a block whose evaluations read nothing of the request that is handled.

    A service or an operator sends it: its host, cookies and headers are not those of the users.
    """
    return _core.Observation(_NoRequest(), is_counted=False)


def resolved_context(source: ContextSource, request: object) -> Context:
    """Returns the context, or what the function returns for the request."""
    context: Context = source(request) if callable(source) else source
    return context


async def aresolved_context(source: ContextSource, request: object) -> Context:
    """The same for async views, whose function may be async, too."""
    context: Any = source(request) if callable(source) else source
    resolved: Context = await context if isawaitable(context) else context
    return resolved


def request_of_template(context: Any) -> Any:
    """Returns the `request` of a template's context, or else the request that is handled now.

    Parts of a page often have none, for example after `include … only`, and must not differ.
    """
    request = context.get("request")
    # A template may have a variable of this name that is no request.
    if hasattr(request, "META"):
        return request
    flags = _core.observed_request()
    return flags._request if isinstance(flags, RequestFlags) else request  # noqa: SLF001 (ours)


def subject_of_template(
    context: Any, user: Any, tag: str, template: str | None
) -> tuple[Evaluator, Any]:
    """Returns the evaluator of a tag, and its user: REQUEST_USER is that of the request.

    With DEBUG, logs once that the tag of a template has neither a request nor a user.
    """
    request = request_of_template(context)
    if user is REQUEST_USER:
        user = getattr(request, "user", None)
        user = context.get("user") if user is None else user
        if settings.DEBUG and not hasattr(request, "META") and "user" not in context:
            log_once(
                "template",
                f"{template} {tag}",
                f"{tag!r} in the template {template or 'without a name'} has neither a request nor "
                "a user, so it evaluates for an anonymous user; render the template with the "
                "request, or pass a user to the tag",
            )
    return evaluator_of(request), user


def debug_message(key: str) -> str | None:
    """Returns why a view is not shown to a user without the flag; None without DEBUG.

    Templates and clients can show it, and a key may reveal a feature that is not released yet.
    """
    if not settings.DEBUG:
        return None
    # A declared key is no plain text, which `quote` needs.
    return (
        f'The flag "{key}" is off for this user. '
        f'To see why, run "manage.py flags explain {shlex.quote(str(key))} USER".'
    )


async def user_of(
    request: HttpRequest, key: str, snapshot: _core.Snapshot, context: Context
) -> UserLike:
    """Returns the user, or None if the result of the flag or the value does not depend on it.

    A lazy `request.user` would query in the event loop, so it uses `request.auser()`, and a thread
    for the attributes that rules need.
    """
    names, depends = snapshot.attribute_names(key), snapshot.depends_on_user(key)
    return await _read_user(request, names, context, is_needed=depends)


async def _read_user(
    request: Any, names: Iterable[str], context: Context, *, is_needed: bool = True
) -> UserLike:
    """Returns the user of a request, with the attributes that rules read."""
    user: UserLike = None
    try:
        if not hasattr(request, "auser"):
            user = getattr(request, "user", None)
        elif is_needed:
            # Sync code of the request reads the lazy user.
            with once_per_request(getattr(request, "user", None)):
                user = await request.auser()
    except DATABASE_ERRORS as error:
        return unreadable_user(error)
    # The evaluation gets the same error, if it needs the attributes.
    with suppress(*DATABASE_ERRORS):
        await prepare_attributes(_context_of(request), user, names, context)
    return user
