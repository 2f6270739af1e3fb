"""The user and the context with which flagstaff evaluates what waffle evaluates for a request."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple, cast

from django.core.signals import setting_changed
from django.utils.functional import LazyObject, empty

from flagstaff import _core
from flagstaff._engine.request_flags import in_request
from flagstaff._tables.bucket_units import VISITOR
from flagstaff.compat.converting import LANGUAGE_ATTRIBUTE, SAMPLE_UNIT, TEST_ATTRIBUTE
from flagstaff.compat.settings import setting_of_waffle
from flagstaff.typing import UserLike

_BITS = 62
_NOTHING: dict[str, Any] = {}


class UnsavedUser:
    """A user without a primary key, with one: rules read its attributes, as waffle does."""

    pk = "unsaved"

    def __init__(self, user: Any) -> None:
        self._user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._user, name)


def user_of(request: Any) -> UserLike:
    """Returns the user of a request, or None. Does not load a lazy one."""
    user: Any = getattr(request, "user", None)
    loaded = user
    if isinstance(user, LazyObject):
        # One that is not loaded yet comes from the session, so it is saved.
        loaded = user.__dict__.get("_wrapped", empty)
    if loaded is None or loaded is empty or getattr(loaded, "pk", None) is not None:
        return cast("UserLike", user)
    return UnsavedUser(loaded) if getattr(loaded, "is_authenticated", False) else user


def context_of(name: str, request: Any) -> dict[str, object]:
    """Returns the attributes of a request that the rules of an imported flag read."""
    context: dict[str, object] = {}
    if getattr(request, "user", None) is None:
        # Waffle turns a percentage off without a user, and also without a request.
        context[VISITOR] = None
    if request is None:
        return context
    language = getattr(request, "LANGUAGE_CODE", None)
    if language is not None:
        context[LANGUAGE_ATTRIBUTE] = language
    test = test_of_url(name, request)
    if test is None:
        test = _test_of_cookie(name, request)
    if test is not None:
        context[TEST_ATTRIBUTE] = "1" if test else "0"
    return context


def context_of_sample(source: Random | None = None) -> dict[str, object]:
    """Returns a context in which a sample is evaluated once: each has a bucket of its own.

    `source` draws it, by default the sequence of the module `random`.
    """
    return {SAMPLE_UNIT: (source or random).getrandbits(_BITS)}


def test_of_url(name: str, request: Any) -> bool | None:
    """Returns the test parameter in the query or the headers of a request; None without one."""
    names = _names_of(name)
    query = getattr(request, "GET", _NOTHING)
    if names.test in query:
        return bool(query[names.test] == "1")
    header = getattr(request, "META", _NOTHING).get(names.header)
    return None if header is None else bool(header == "1")


def _test_of_cookie(name: str, request: Any) -> bool | None:
    return _cookie(_names_of(name).test, request)


def kept_by_cookie(name: str, request: Any) -> bool | None:
    """Returns what waffle has drawn for the browser in an earlier request, or None."""
    return _cookie(_names_of(name).cookie, request)


def is_decided_by_url(name: str, request: Any) -> bool:
    """Whether the URL decides in place of the flag, because of WAFFLE_OVERRIDE."""
    is_named = name in getattr(request, "GET", _NOTHING)
    return is_named and bool(setting_of_waffle("OVERRIDE"))


def _cookie(cookie: str, request: Any) -> bool | None:
    text = getattr(request, "COOKIES", _NOTHING).get(cookie)
    return None if text is None else bool(text == "True")


class _Names(NamedTuple):
    #: The parameter and the cookie of a tester.
    test: str
    #: The name of the tester's header in META.
    header: str
    #: The cookie of a percentage.
    cookie: str


@lru_cache(maxsize=10_000)
def _names_of(name: str) -> _Names:
    test = setting_of_waffle("TEST_COOKIE") % name
    header = f"HTTP_{test.replace('-', '_').upper()}"
    return _Names(test, header, setting_of_waffle("COOKIE") % name)


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"WAFFLE_COOKIE", "WAFFLE_TEST_COOKIE"}:
        _names_of.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flagstaff.compat.evaluating")


def resolve(  # noqa: PLR0913 (as the function of the extension, with the request)
    key: str,
    request: Any,
    user: UserLike,
    context: dict[str, object],
    *,
    own: Callable[[int], bool | None] | None = None,
    is_counted: bool = True,
) -> _core.Resolution[bool] | None:
    """Returns what `_core.resolve_kept_flag` does, in the context of the request."""
    evaluate = _core.resolve_kept_flag
    if request is None or _core.observed_request() is not None:
        return evaluate(key, user, context=context, own=own, is_counted=is_counted)
    with in_request(request):
        return evaluate(key, user, context=context, own=own, is_counted=is_counted)
