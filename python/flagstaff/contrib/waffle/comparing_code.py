"""Compares the results of rows with own code: with the methods of waffle, and of the stand-in."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from typing import Any
from unittest.mock import patch

from django.contrib.auth.models import AnonymousUser
from django.db import router, transaction
from django.test import RequestFactory

from flagstaff.contrib.waffle.contract import BaseFlag, UserFlag
from flagstaff.contrib.waffle.own_code import unguarded
from flagstaff.contrib.waffle.rows import Row, waffle_model
from flagstaff.contrib.waffle.settings import WaffleKind

_REQUEST, _USER = "is_active", "is_active_for_user"


class Failed(str):
    """Why own code has no result, such as the name of its exception."""

    __slots__ = ()


def code_results(row: Row, people: Iterable[Any]) -> Iterator[tuple[Any, str, Any, Any]]:
    """Yields a person, the method that is asked, and its results with waffle and the stand-in.

    As if the flag were on here. Rolls back what own code writes.
    """
    model = waffle_model(row.kind)
    using = router.db_for_write(model)
    with transaction.atomic(using=using), unguarded():
        stored = model._base_manager.using(using).get(name=row.name)
        for one in people:
            for name in (_REQUEST, _USER) if row.kind == "flag" else (_REQUEST,):
                # So that a percentage draws the same.
                drawing = random.getstate()
                theirs = _result(stored, row.kind, name, one)
                random.setstate(drawing)
                with _stand_in_methods():
                    ours = _result(stored, row.kind, name, one)
                yield one, name, theirs, ours
        transaction.set_rollback(True, using=using)


def _result(stored: Any, kind: WaffleKind, name: str, one: Any) -> Any:
    request: Any = RequestFactory().get("/")
    request.user, request.session = one.user or AnonymousUser(), {}
    if one.language is not None:
        request.LANGUAGE_CODE = one.language
    asked = request.user if name == _USER else request
    try:
        result = getattr(stored, name)(*([asked] if kind == "flag" else ()))
    except Exception as error:  # noqa: BLE001 (code of the project, which may need its middleware)
        return Failed(type(error).__name__)
    if iscoroutine(result):
        result.close()
        return Failed("coroutine")
    return result


@contextmanager
def _stand_in_methods() -> Iterator[None]:
    """Lets `super()` in own code call the methods of the stand-in."""
    from waffle.models import AbstractBaseFlag, AbstractUserFlag  # noqa: PLC0415

    def by_lists(row: Any, user: Any) -> Any:
        result = super(AbstractUserFlag, row).is_active_for_user(user)
        return UserFlag.is_active_by_lists(row, user, result)

    methods: dict[str, Any] = {
        _REQUEST: BaseFlag.is_active,
        _USER: BaseFlag.is_active_for_user,
        "_is_active_for_language": BaseFlag.is_active_for_language,
        "_is_active_for_percent": BaseFlag.is_active_for_percent,
    }
    with (
        patch.multiple(AbstractBaseFlag, create=True, **methods),
        patch.multiple(AbstractUserFlag, is_active_for_user=by_lists),
    ):
        yield
