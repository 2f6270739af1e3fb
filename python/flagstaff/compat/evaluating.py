"""What an evaluation in place of waffle's reads of a request: the user, and the context."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from django.core.signals import setting_changed
from django.utils.functional import LazyObject, empty

from flagstaff.compat.converting import LANGUAGE_ATTRIBUTE, TEST_ATTRIBUTE

_ON, _OFF = "1", "0"
# What waffle's middleware writes into a cookie.
_TRUE = "True"
_NOTHING: dict[str, Any] = {}


class UnsavedUser:
    """Stands for a user who is logged in and has no primary key, as in tests of views.

    Without a primary key, the user would count as anonymous, and no rule could read an attribute.
    """

    pk = "unsaved"

    def __init__(self, user: object) -> None:
        self._user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._user, name)


def user_of(request: Any) -> Any:
    """Returns the user of a request, or None. Does not load a lazy user."""
    user: Any = getattr(request, "user", None)
    if isinstance(user, LazyObject):
        wrapped = user._wrapped  # noqa: SLF001 (faster than the proxy)
        if wrapped is empty:
            # It will come from the session, so it is saved.
            return user
        user = wrapped
    is_unsaved = user is not None and user.pk is None and user.is_authenticated
    return UnsavedUser(user) if is_unsaved else user


def context_of(request: Any, name: str) -> dict[str, object]:
    """Returns what the rules of a flag that waffle knows by `name` read of a request."""
    context: dict[str, object] = {}
    language = getattr(request, "LANGUAGE_CODE", None)
    if language is not None:
        context[LANGUAGE_ATTRIBUTE] = language
    test = _test_of(request, name)
    if test is not None:
        context[TEST_ATTRIBUTE] = test
    return context


def kept_result(request: Any, name: str) -> bool | None:
    """Returns what waffle has drawn for the browser in this or an earlier request, or None."""
    drawn = getattr(request, "waffles", _NOTHING).get(name)
    if drawn is not None:
        return bool(drawn[0])
    text = getattr(request, "COOKIES", _NOTHING).get(_names_of(name).percent_cookie)
    return None if text is None else text == _TRUE


def is_overridden(request: Any, name: str) -> bool:
    """Whether the URL decides in place of the flag, because of WAFFLE_OVERRIDE."""
    return name in getattr(request, "GET", _NOTHING) and bool(_setting("OVERRIDE"))


def _test_of(request: Any, name: str) -> str | None:
    """Returns the result that a tester wants, in waffle's order: query, header, cookie."""
    names = _names_of(name)
    query = getattr(request, "GET", _NOTHING)
    if names.test in query:
        return _ON if query[names.test] == _ON else _OFF
    header = getattr(request, "META", _NOTHING).get(names.header)
    if header is not None:
        return _ON if header == _ON else _OFF
    text = getattr(request, "COOKIES", _NOTHING).get(names.test)
    return None if text is None else (_ON if text == _TRUE else _OFF)


class _Names(NamedTuple):
    #: The parameter and the cookie of a tester.
    test: str
    #: The name of the tester's header in META.
    header: str
    percent_cookie: str


@lru_cache(maxsize=10_000)
def _names_of(name: str) -> _Names:
    test = _setting("TEST_COOKIE") % name
    return _Names(test, f"HTTP_{test.replace('-', '_').upper()}", _setting("COOKIE") % name)


def _setting(name: str) -> Any:
    from waffle.utils import get_setting  # noqa: PLC0415 (the project may have removed it)

    return get_setting(name)


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith("WAFFLE_"):
        _names_of.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flagstaff.compat.evaluating")
