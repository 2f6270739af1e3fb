"""Evaluates rows of waffle, and takes rows of waffle over."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import waffle
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from waffle.models import Flag

from flagstaff.compat import stale_rows
from flagstaff.compat.converting import convert
from flagstaff.compat.models import Difference
from flagstaff.compat.rows import kind_of_model, read_kind
from flagstaff.models import FeatureFlag

NAME = "new_checkout"


def take_over(row: Any, **changes: Any) -> FeatureFlag:
    """Writes the flag that a row of waffle becomes, with other values for some fields."""
    kind = kind_of_model(type(row))
    assert kind is not None
    [source] = read_kind(kind, [row.name])
    item = convert(source).item
    assert item is not None
    flag = FeatureFlag.objects.create(key=item.key, **{**item.fields, **changes})
    flag.allowed_users.set(User.objects.filter(pk__in=[one.pk for one in item.users or ()]))
    return flag


def request_of(user: Any = None, url: str = "/cart/", **cookies: str) -> HttpRequest:
    """Returns a request of a user, by default of an anonymous one, with these cookies."""
    request = RequestFactory().get(url)
    request.user = AnonymousUser() if user is None else user
    request.COOKIES.update(cookies)
    return request


def user(name: str = "alice", **fields: Any) -> User:
    return User.objects.create(username=name, **fields)


def flag(name: str = NAME, **fields: Any) -> Any:
    """A flag of waffle; not for superusers, unlike waffle's default."""
    row: Any = Flag.objects.create(name=name, **{"superusers": False, **fields})
    return row


def evaluate(request: HttpRequest, name: str = NAME, *, read_only: bool = False) -> bool:
    """Evaluates a flag by waffle, which lets flagstaff compare. Returns waffle's result."""
    row = waffle.get_waffle_flag_model().get(name)
    return bool(row.is_active(request, read_only=read_only))


def evaluate_other(row: Any) -> bool:
    """Evaluates a switch or a sample, as `evaluate` does a flag."""
    return bool(type(row).get(row.name).is_active())


def wait_for_checks() -> None:
    """Waits until nothing is left for the thread that looks for outdated rows."""
    while (thread := stale_rows._thread) is not None:
        thread.join()


def days_ago(days: int) -> date:
    """Returns a day as the table of differences has it."""
    return datetime.now(timezone.utc).date() - timedelta(days=days)


def add_difference(
    cause: str, *, kind: str = "flag", name: str = NAME, days: int = 0, **columns: Any
) -> None:
    """Writes a row of differences, by default a result that is on in waffle only."""
    waffle = columns.pop("waffle", True)
    here = waffle if cause == "equal" else not waffle
    values = {"count": 1, "waffle": waffle, "flagstaff": here, **columns}
    Difference.objects.create(kind=kind, name=name, cause=cause, day=days_ago(days), **values)
