"""What the call sites of waffle get: results of flagstaff for a request, a user, or nobody."""

from __future__ import annotations

import random
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.functional import LazyObject, empty

from flagstaff import explain, ready, resolve_flag, snapshot
from flagstaff._core import Resolution, current, observed_request
from flagstaff._engine.explain import Explanation
from flagstaff._engine.request_flags import in_request
from flagstaff._tables.bucket_units import VISITOR
from flagstaff._types import UserLike
from flagstaff.contrib.waffle.converting import (
    LANGUAGE_ATTRIBUTE,
    SAMPLE_UNIT,
    TEST_ATTRIBUTE,
    convert,
)
from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.rows import SourceRow
from flagstaff.contrib.waffle.settings import WaffleKind, waffle_settings

_ALL = 100
_BITS = 62
_NOTHING: dict[str, Any] = {}
_MISSING, _NOT_READY = "FLAG_NOT_FOUND", "PROVIDER_NOT_READY"
_PATTERNS = {"COOKIE": "dwf_%s", "TEST_COOKIE": "dwft_%s"}


class UnsavedUser:
    """A user without a primary key, with one: rules read its attributes, as waffle does."""

    pk = "unsaved"

    def __init__(self, user: Any) -> None:
        self._user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._user, name)


def flag_result(
    name: str, request: Any, *, read_only: bool = False, session_only: bool = False
) -> bool | None:
    """Returns whether a flag is on for a request; None if there is no such flag.

    `session_only` is waffle's rollout mode, which shortens the life of the cookie.
    """
    key = key_of("flag", name)
    if is_decided_by_url(name, request) and has_flag("flag", name):
        return bool(request.GET[name] == "1")
    user, context = user_of(getattr(request, "user", None)), context_of(name, request)
    resolution = _resolve(key, request, user, context)
    if resolution.error_code is not None:
        # Before the first load, a default of True would turn on a flag that is off.
        return None if resolution.error_code == _MISSING else False
    if TEST_ATTRIBUTE in context and resolution.reason != "DISABLED":
        test = test_of_url(name, request)
        if test is not None and TEST_ATTRIBUTE in snapshot().attribute_names(key):
            keep_test(request, name, active=test)
    is_own = resolution.reason in {"SPLIT", "DEFAULT"} and resolution.rule is None
    if user is not None and is_own:
        kept = _kept(name, request)
        # Of a flag at 0 % or 100 %, no browser keeps another result.
        if kept is not None and 0 < (explain(key).rollout_percent or 0) < _ALL:
            if not read_only:
                set_flag(request, name, kept, session_only)
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
    found = resolve_flag(key_of("flag", name), user_of(user), context={VISITOR: None})
    if found.reason == "DISABLED":
        return False
    return True if found.value and found.reason in {"STATIC", "TARGETING_MATCH"} else None


def has_flag(kind: WaffleKind, name: str) -> bool:
    """Whether there is a flag of a name of waffle."""
    key = key_of(kind, name)
    return current(key).kind_of(key) == "flag"


def shown(kind: WaffleKind, name: str, column: str, stored: Any, *, is_stored: bool) -> Any:
    """Returns what a column of waffle is by the present state of our flag.

    `stored` is what the table has. A row of the table without a flag is off: somebody has deleted
    the flag here.
    """
    found = explain(key_of(kind, name))
    if found.error_code == _NOT_READY and ready():
        found = explain(key_of(kind, name))
    if found.error_code == _MISSING and not is_stored:
        return stored
    if column == "active":
        return found.value
    if column == "everyone":
        return _everyone(found)
    return _percent(kind, found, None if stored is None else Decimal(str(stored)))


def _everyone(found: Explanation) -> bool | None:
    if found.override is not None or found.reason == "DISABLED":
        return found.value
    if found.error_code is not None:
        return None if found.error_code == "PARSE_ERROR" else False
    rules = (step.values["percent"] for step in found.steps if "percent" in step.values)
    return True if is_for_all(found.rollout_percent, rules) else None


def is_for_all(rollout: Any, rollouts_of_rules: Any) -> bool:
    """Whether a flag that is enabled is on for everyone, whatever its rules match."""
    return all(percent >= _ALL for percent in (rollout or 0, *rollouts_of_rules))


def _percent(kind: WaffleKind, found: Explanation, stored: Decimal | None) -> Decimal | None:
    rollout = found.rollout_percent
    if kind == "sample" and (rollout is None or found.reason == "DISABLED"):
        return Decimal(_ALL if found.value else 0)
    of_stored = convert(SourceRow(kind, found.key, percent=stored)).fields["rollout_percent"]
    if rollout is None or rollout == of_stored:
        # With the part after the decimal point.
        return stored
    # A flag of waffle has at most 99.9 %.
    return stored if kind == "flag" and rollout >= _ALL else Decimal(rollout)


def user_of(user: Any) -> UserLike:
    """Returns a user for an evaluation. Does not load a lazy one."""
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
        test = test_of_cookie(name, request)
    if test is not None:
        context[TEST_ATTRIBUTE] = "1" if test else "0"
    return context


def test_of_url(name: str, request: Any) -> bool | None:
    """Returns the test parameter in the query or the headers of a request; None without one."""
    names = _names_of(name)
    query = getattr(request, "GET", _NOTHING)
    if names.test in query:
        return bool(query[names.test] == "1")
    header = getattr(request, "META", _NOTHING).get(names.header)
    return None if header is None else bool(header == "1")


def test_of_cookie(name: str, request: Any) -> bool | None:
    """Returns what a tester has set for the session of the browser, or None."""
    return _cookie(_names_of(name).test, request)


def kept_by_cookie(name: str, request: Any) -> bool | None:
    """Returns what waffle has drawn for the browser in an earlier request, or None."""
    return _cookie(_names_of(name).cookie, request)


def is_decided_by_url(name: str, request: Any) -> bool:
    """Whether the URL decides in place of the flag, because of WAFFLE_OVERRIDE."""
    return name in getattr(request, "GET", _NOTHING) and getattr(settings, "WAFFLE_OVERRIDE", False)


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


def _kept(name: str, request: Any) -> bool | None:
    """Returns what this request, or until COOKIES_UNTIL an earlier one, has kept; or None."""
    given = getattr(request, "waffles", _NOTHING)
    if name in given:
        return bool(given[name][0])
    return kept_by_cookie(name, request) if waffle_settings().keeps_cookies else None


def _cookie(cookie: str, request: Any) -> bool | None:
    text = getattr(request, "COOKIES", _NOTHING).get(cookie)
    return None if text is None else bool(text == "True")


def _value(found: Resolution[bool]) -> bool | None:
    return None if found.error_code == _MISSING else found.value


def _resolve(
    key: str, request: Any, user: UserLike, context: dict[str, object]
) -> Resolution[bool]:
    if request is None or observed_request() is not None:
        return resolve_flag(key, user, context=context)
    with in_request(request):
        return resolve_flag(key, user, context=context)


class _Names(NamedTuple):
    #: The parameter and the cookie of a tester.
    test: str
    #: The name of the tester's header in META.
    header: str
    #: The cookie of a percentage.
    cookie: str


@lru_cache(maxsize=10_000)
def _names_of(name: str) -> _Names:
    cookie, test = (
        getattr(settings, f"WAFFLE_{setting}", pattern) % name
        for setting, pattern in _PATTERNS.items()
    )
    return _Names(test, f"HTTP_{test.replace('-', '_').upper()}", cookie)


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"WAFFLE_COOKIE", "WAFFLE_TEST_COOKIE"}:
        _names_of.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flagstaff.contrib.waffle.evaluating")
