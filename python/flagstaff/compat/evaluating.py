"""The user and the context with which flagstaff evaluates what waffle evaluates for a request."""

from __future__ import annotations

import random
from typing import Any, cast

from django.utils.functional import LazyObject, empty

from flagstaff import _core
from flagstaff._engine.request_flags import in_request
from flagstaff._tables.bucket_units import VISITOR
from flagstaff.compat.converting import LANGUAGE_ATTRIBUTE, SAMPLE_UNIT, TEST_ATTRIBUTE
from flagstaff.compat.settings import setting_of_waffle
from flagstaff.typing import UserLike

_BITS = 62


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
    if getattr(request, "user", None) is None:
        # Waffle turns a percentage off for a request without a user.
        context[VISITOR] = None
    return context


def context_of_sample() -> dict[str, object]:
    """Returns a context in which a sample is evaluated once: each has a bucket of its own."""
    return {SAMPLE_UNIT: random.getrandbits(_BITS)}


def test_of_url(name: str, request: Any) -> bool | None:
    """Returns the test parameter in the query or the headers of a request; None without one."""
    parameter = setting_of_waffle("TEST_COOKIE") % name
    header = parameter.replace("_", "-")
    for given, key in ((getattr(request, "GET", ()), parameter), (_headers(request), header)):
        if key in given:
            return bool(given[key] == "1")
    return None


def _test_of_cookie(name: str, request: Any) -> bool | None:
    cookie = setting_of_waffle("TEST_COOKIE") % name
    cookies = getattr(request, "COOKIES", {})
    return cookies[cookie] == "True" if cookie in cookies else None


def _headers(request: Any) -> Any:
    return getattr(request, "headers", ())


def resolve(
    key: str, request: Any, user: UserLike, context: dict[str, object], **options: Any
) -> _core.Resolution[bool] | None:
    """Returns what `_core.resolve_kept_flag` does, in the context of the request."""
    with in_request(request):
        return _core.resolve_kept_flag(key, user, context=context, **options)
