"""Waffle's flags, switches and samples from flagstaff: replaces methods of waffle's models."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias, cast

from django.db.models import Model
from django.db.models.signals import post_init, post_save

from flagstaff import _core
from flagstaff._engine.explain import explain
from flagstaff._tables.bucket_units import VISITOR
from flagstaff.compat.converting import TEST_ATTRIBUTE
from flagstaff.compat.evaluating import (
    context_of,
    context_of_sample,
    is_decided_by_url,
    kept_by_cookie,
    resolve,
    test_of_url,
    user_of,
)
from flagstaff.compat.mirror_context import evaluating
from flagstaff.compat.names import key_of
from flagstaff.compat.replacing import Method, replace_method
from flagstaff.compat.rows import overridden_methods, waffle_model
from flagstaff.compat.settings import WAFFLE_KINDS, WaffleKind, waffle_settings
from flagstaff.compat.shadow import compare

_ALL = 100
# What a flag of waffle is for everyone in the table, remembered in the instance.
_EVERYONE = "_flagstaff_everyone"
#: What decides about the own percentage of a flag in place of its bucket.
_Own = Callable[[int], "bool | None"]


def served_flag(
    name: str, request: Any, *, read_only: bool = False, session_only: bool = False
) -> bool | None:
    """Returns the result of a flag by its name in waffle; None if there is no such flag here.

    `session_only` is waffle's rollout mode, which shortens the life of the cookie.
    """
    if is_decided_by_url(name, request):
        # As waffle: of a flag that exists.
        is_flag = _core.kind_of(key_of("flag", name)) == "flag"
        return bool(request.GET[name] == "1") if is_flag else None
    user = user_of(request)
    own = None
    if user is not None:
        own = _own_of(name, request, read_only=read_only, session_only=session_only)
    context = context_of(name, request)
    resolution = _without_error(resolve(key_of("flag", name), request, user, context, own=own))
    if resolution is None:
        return None
    if TEST_ATTRIBUTE in context:
        _keep_test(name, request, resolution)
    return resolution.value


def served_switch(name: str) -> bool | None:
    """Returns the result of a switch; None if there is no such flag here."""
    return _value(_core.resolve_kept_flag(key_of("switch", name)))


def served_sample(name: str) -> bool | None:
    """Returns the result of a sample; None if there is no such flag here."""
    context = context_of_sample()
    return _value(_core.resolve_kept_flag(key_of("sample", name), context=context))


def served_for_user(name: str, user: Any) -> bool | None:
    """Returns whether a flag is on for a user without its percentage, as `is_active_for_user`.

    False if it is off for everyone; None if only its percentage decides, or if it does not exist.
    """
    found = _core.resolve_kept_flag(
        key_of("flag", name), _with_key(user), context={VISITOR: None}, own=lambda _percent: False
    )
    resolution = _without_error(found)
    if resolution is None:
        return None
    if resolution.reason == "DISABLED":
        return False
    is_certain = resolution.value and resolution.reason in {"STATIC", "TARGETING_MATCH"}
    return True if is_certain else None


def install() -> None:
    """Replaces the methods of waffle's models. To be called when the models are loaded."""
    from waffle import models  # noqa: PLC0415 (the project may have removed it)

    for kind in WAFFLE_KINDS:
        # Before a test replaces a method.
        overridden_methods(waffle_model(kind))
    for signal in (post_init, post_save):
        signal.connect(_remember_everyone, waffle_model("flag"), dispatch_uid=_EVERYONE)
    replace_method(models.AbstractBaseFlag, "refresh_from_db", _flag_refresh_from_db)
    replace_method(models.AbstractBaseFlag, "is_active", _flag_is_active)
    replace_method(models.AbstractBaseFlag, "is_active_for_user", _flag_is_active_for_user)
    replace_method(models.AbstractUserFlag, "is_active_for_user", _flag_is_active_for_user)
    replace_method(models.AbstractBaseSwitch, "is_active", _switch_is_active)
    replace_method(models.AbstractBaseSample, "is_active", _sample_is_active)


def _flag_refresh_from_db(original: Method) -> Method:
    def refresh_from_db(self: Any, *arguments: Any, **options: Any) -> None:
        is_changed = _is_changed(self)
        original(self, *arguments, **options)
        fields = options.get("fields") or next(iter(arguments[1:2]), None)
        if not is_changed or fields is None or "everyone" in fields:
            _remember_everyone(self)

    return refresh_from_db


def _flag_is_active(original: Method) -> Method:
    def is_active(self: Any, request: Any, read_only: bool = False) -> Any:  # noqa: FBT001, FBT002
        result = None
        if _is_served(self) and not _is_changed(self):
            session_only = bool(self.rollout)
            result = served_flag(self.name, request, read_only=read_only, session_only=session_only)
        if result is not None:
            return result
        evaluate = partial(original, request=request, read_only=read_only)
        return _by_waffle("flag", self, request, evaluate)

    return is_active


def _flag_is_active_for_user(original: Method) -> Method:
    def is_active_for_user(self: Any, user: Any) -> Any:
        if not _is_served(self) or _is_changed(self):
            return original(self, user)
        if _core.kind_of(key_of("flag", self.name)) != "flag":
            return original(self, user)
        return served_for_user(self.name, user)

    return is_active_for_user


def _switch_is_active(original: Method) -> Method:
    def is_active(self: Any) -> Any:
        result = served_switch(self.name) if _is_served(self) else None
        return _by_waffle("switch", self, None, original) if result is None else result

    return is_active


def _sample_is_active(original: Method) -> Method:
    def is_active(self: Any) -> Any:
        result = served_sample(self.name) if _is_served(self) else None
        return _by_waffle("sample", self, None, original) if result is None else result

    return is_active


def _by_waffle(kind: WaffleKind, row: Any, request: Any, evaluate: Method) -> Any:
    """Returns the result of waffle, which is compared with that of flagstaff."""
    if row.pk is None:
        # Waffle may create the row, with its default.
        with evaluating():
            result = evaluate(row)
    else:
        result = evaluate(row)
    compare(kind, row, request, result)
    return result


def _is_served(row: Any) -> bool:
    model = cast("type[Model]", type(row))
    # A template may pass a variable that is no text; waffle then looks for its text.
    return waffle_settings().serves(str(row.name)) and not overridden_methods(model)


def _remember_everyone(instance: Any, **_: Any) -> None:
    known = instance.__dict__
    if "everyone" in known:  # Else it is deferred.
        known[_EVERYONE] = known["everyone"]


def _is_changed(flag: Any) -> bool:
    """Whether code has turned a flag on or off without saving it: here is only what is saved."""
    known = flag.__dict__
    # An instance from waffle's cache may be older than this app.
    return _EVERYONE in known and bool(known[_EVERYONE] != known.get("everyone"))


_Resolution: TypeAlias = "_core.Resolution[bool]"


def _without_error(found: _Resolution | None) -> _Resolution | None:
    """Returns None if there is no such flag here, or no result of it yet."""
    return None if found is None or found.error_code is not None else found


def _value(found: _Resolution | None) -> bool | None:
    resolution = _without_error(found)
    return None if resolution is None else resolution.value


def _with_key(user: Any) -> Any:
    """Returns the user of a request that has only this user."""
    return user_of(_Holder(user))


class _Holder:
    def __init__(self, user: Any) -> None:
        self.user = user


def _keep_test(name: str, request: Any, resolution: _core.Resolution[bool]) -> None:
    """Lets waffle's middleware set the test cookie if a parameter in the URL tests the flag."""
    test = test_of_url(name, request)
    if test is None or resolution.reason == "DISABLED" or not _is_in_testing(name):
        return
    if not hasattr(request, "waffle_tests"):
        request.waffle_tests = {}
    request.waffle_tests[name] = test


def _is_in_testing(name: str) -> bool:
    """Whether a rule of the flag reads the test parameter."""
    conditions = (
        one.condition for rule in explain(key_of("flag", name)).rules for one in rule.conditions
    )
    return any(condition.get("attribute") == TEST_ATTRIBUTE for condition in conditions)


def _own_of(name: str, request: Any, *, read_only: bool, session_only: bool) -> _Own:
    """Returns what decides in place of the bucket: what the browser got before, or a new draw."""
    settings = waffle_settings()
    is_drawn = settings.percent == "cookie"

    def own(percent: int) -> bool | None:
        given = getattr(request, "waffles", {})
        if name in given:
            return bool(given[name][0])
        kept = kept_by_cookie(name, request)
        kept = kept if kept is None or settings.keeps_cookies else None
        if not is_drawn:
            return kept
        if kept is None and not read_only:
            # As waffle, also where a test replaces the function by one that returns a text.
            kept = Decimal(str(random.uniform(0, _ALL))) <= percent  # noqa: S311 (no secret)
        if kept is not None and not read_only:
            _set_flag(request, name, kept, session_only=session_only)
        return bool(kept)

    return own


def _set_flag(request: Any, name: str, active: bool, *, session_only: bool) -> None:  # noqa: FBT001
    """Lets waffle's middleware set the cookie."""
    if not hasattr(request, "waffles"):
        request.waffles = {}
    request.waffles[name] = [active, session_only]
