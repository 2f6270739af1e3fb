"""What the call sites of waffle get: results of flagstaff for a request, a user, or nobody."""

from __future__ import annotations

import random
from copy import copy
from typing import Any

from django.db.models import Model
from django.utils.functional import LazyObject

from flagstaff import explain, resolve_flag, snapshot
from flagstaff._core import Resolution, current, observed_request
from flagstaff._request.flags import in_request
from flagstaff._tables.rows import VISITOR
from flagstaff.contrib.waffle.settings import (
    LANGUAGE_ATTRIBUTE,
    SAMPLE_UNIT,
    TEST_ATTRIBUTE,
    get_setting,
    key_of,
    waffle_settings,
)
from flagstaff.typing import UserLike

_ALL = 100
_BITS = 62
_NOTHING: dict[str, Any] = {}
_MISSING = "FLAG_NOT_FOUND"


def flag_result(name: str, request: Any, *, read_only: bool = False) -> bool | None:
    """Returns whether a flag is on for a request; None if there is no such flag."""
    key = key_of("flag", name)
    by_url = url_result(name, request)
    if by_url is not None and current(key).kind_of(key) == "flag":
        return by_url
    user, context = _user_of(request), _context(name, request)
    resolution = _resolve(key, request, user, context)
    if resolution.error_code is not None:
        # Before the first load, a default of True would turn on a flag that is off.
        return None if resolution.error_code == _MISSING else False
    test = test_of_url(name, request) if resolution.reason != "DISABLED" else None
    if test is not None and TEST_ATTRIBUTE in snapshot().attribute_names(key):
        keep_test(request, name, active=test)
    if user is not None and resolution.reason in {"SPLIT", "DEFAULT"} and resolution.rule is None:
        kept = kept_result(name, request, use_cookies=waffle_settings().keeps_cookies)
        # Of a flag at 0 % or 100 %, no browser keeps another result.
        if kept is not None and 0 < (explain(key).rollout_percent or 0) < _ALL:
            if not read_only:
                set_flag(request, name, kept)
            return kept
    return resolution.value


def switch_result(name: str) -> bool | None:
    """Returns whether a switch is on; None if there is no such flag."""
    return _value(resolve_flag(key_of("switch", name)))


def sample_result(name: str) -> bool | None:
    """Returns whether a sample is on this time; None if there is no such flag."""
    # Each evaluation has a bucket of its own.
    context = {SAMPLE_UNIT: random.getrandbits(_BITS)}
    return _value(resolve_flag(key_of("sample", name), context=context))


def result_for_user(name: str, user: Any) -> bool | None:
    """Returns whether a flag is on for a user without its percentage, as `is_active_for_user`.

    False if it is off for everyone; None if only its percentage decides, or if it does not exist.
    """
    resolution = resolve_flag(key_of("flag", name), user, context={VISITOR: None})
    if resolution.reason == "DISABLED":
        return False
    return True if resolution.value and resolution.reason in {"STATIC", "TARGETING_MATCH"} else None


def url_result(name: str, request: Any) -> bool | None:
    """Returns what the URL says in place of the flag because of WAFFLE_OVERRIDE, or None."""
    query = getattr(request, "GET", _NOTHING)
    if name in query and get_setting("OVERRIDE"):
        return bool(query[name] == "1")
    return None


def test_of_url(name: str, request: Any) -> bool | None:
    """Returns the test parameter in the query or the headers of a request; None without one."""
    parameter = get_setting("TEST_COOKIE") % name
    header = f"HTTP_{parameter.replace('-', '_').upper()}"
    in_header = getattr(request, "META", _NOTHING).get(header)
    text = getattr(request, "GET", _NOTHING).get(parameter, in_header)
    return None if text is None else bool(text == "1")


def test_of_cookie(name: str, request: Any) -> bool | None:
    """Returns what a tester has set for the session of the browser, or None."""
    return _cookie(get_setting("TEST_COOKIE") % name, request)


def kept_result(name: str, request: Any, *, use_cookies: bool = True) -> bool | None:
    """Returns what this request, or by a cookie of waffle an earlier one, has kept; or None."""
    kept = getattr(request, "waffles", _NOTHING)
    if name in kept:
        return bool(kept[name][0])
    return _cookie(get_setting("COOKIE") % name, request) if use_cookies else None


def set_flag(request: Any, name: str, active: Any = True, session_only: bool = False) -> None:  # noqa: FBT001, FBT002 (waffle's signature)
    """Keeps a result for the browser: waffle's middleware sets the cookie."""
    if not hasattr(request, "waffles"):
        request.waffles = {}
    request.waffles[name] = [active, session_only]


def keep_test(request: Any, name: str, *, active: bool) -> None:
    """Keeps what a tester has set, for the session: waffle's middleware sets the cookie."""
    if not hasattr(request, "waffle_tests"):
        request.waffle_tests = {}
    request.waffle_tests[name] = active


def _user_of(request: Any) -> Any:
    """Returns the user of a request. Does not load a lazy one, which is saved."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) or not isinstance(user, Model) or user.pk is not None:
        return user
    # Rules read the attributes of a user with a primary key only, waffle those of any user.
    user = copy(user)
    user.pk = 0
    return user


def _context(name: str, request: Any) -> dict[str, object]:
    """Returns the attributes of a request that the rules of an imported flag read."""
    context: dict[str, object] = {}
    if getattr(request, "user", None) is None:
        # Waffle turns a percentage off without a user, and also without a request.
        context[VISITOR] = None
    language = getattr(request, "LANGUAGE_CODE", None)
    if language is not None:
        context[LANGUAGE_ATTRIBUTE] = language
    test = test_of_url(name, request)
    test = test_of_cookie(name, request) if test is None else test
    if test is not None:
        context[TEST_ATTRIBUTE] = "1" if test else "0"
    return context


def _resolve(
    key: str, request: Any, user: UserLike, context: dict[str, object]
) -> Resolution[bool]:
    if request is None or observed_request() is not None:
        return resolve_flag(key, user, context=context)
    with in_request(request):
        return resolve_flag(key, user, context=context)


def _cookie(cookie: str, request: Any) -> bool | None:
    text = getattr(request, "COOKIES", _NOTHING).get(cookie)
    return None if text is None else bool(text == "True")


def _value(resolution: Resolution[bool]) -> bool | None:
    return None if resolution.error_code == _MISSING else resolution.value
