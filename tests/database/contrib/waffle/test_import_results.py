"""Waffle and flagstaff have the same results after an import, except where the report says so."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.test import RequestFactory
from waffle.models import Flag

from flagstaff import flag_enabled
from tests.support.terminals import document
from tests.support.waffle_rows import flag, switch

pytestmark = pytest.mark.django_db

LANGUAGES = ("de", "pt-br", "en")
# What the parameter dwft_NAME of a request is.
TESTS = ("1", "0", "2", None)


@pytest.fixture(autouse=True)
def _empty_cache_of_waffle() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def users() -> dict[str, Any]:
    """Users of every kind that waffle distinguishes."""
    created: dict[str, Any] = {
        "plain": User.objects.create(username="plain"),
        "staff": User.objects.create(username="staff", is_staff=True),
        "superuser": User.objects.create(username="superuser", is_superuser=True),
        "both": User.objects.create(username="both", is_staff=True, is_superuser=True),
        "member": User.objects.create(username="member"),
        "listed": User.objects.create(username="listed"),
        "inactive": User.objects.create(username="inactive", is_active=False, is_staff=True),
    }
    created["member"].groups.add(Group.objects.create(name="beta"))
    return {**created, "anonymous": AnonymousUser()}


def request_of(row: Flag, user: Any, language: str, test: str | None) -> Any:
    parameters = {} if test is None else {f"dwft_{row.name}": test}
    request: Any = RequestFactory().get("/", parameters)
    request.user, request.LANGUAGE_CODE = user, language
    return request


def ours(row: Flag, user: Any, language: str, test: str | None) -> bool:
    # As a middleware fills the context: any other parameter than "1" turns the flag off.
    tested = {} if test is None else {"waffle_test": "1" if test == "1" else "0"}
    return flag_enabled(row.name, user, context={"language": language, **tested})


def is_announced(row: Flag, name: str, test: str | None) -> bool:
    """Whether the report of the import says that these results differ."""
    return row.everyone is None and row.testing and name == "listed" and test in {"0", "2"}


def random_flag(number: int, chance: random.Random) -> Flag:
    row: Flag = flag(
        f"flag_{number}",
        everyone=chance.choice([None, None, None, True, False]),
        superusers=chance.random() < 0.5,
        staff=chance.random() < 0.3,
        authenticated=chance.random() < 0.2,
        testing=chance.random() < 0.5,
        languages=chance.choice(["", "", "de", "fr, pt-br", ",de,"]),
        percent=chance.choice([None, Decimal(0)]),
    )
    row.groups.add(*chance.choice([[], [Group.objects.get(name="beta")]]))
    row.users.add(*chance.choice([[], [User.objects.get(username="listed")]]))
    return row


def compare(rows: list[Flag], users: dict[str, Any], announced: set[str]) -> int:
    """Compares all results, and returns the number of those that differ as announced."""
    differing = 0
    for row in rows:
        for name, user in users.items():
            for language in LANGUAGES:
                for test in TESTS:
                    theirs = bool(row.is_active(request_of(row, user, language, test)))
                    if ours(row, user, language, test) == theirs:
                        continue
                    case = (row.name, name, language, test)
                    assert is_announced(row, name, test), case
                    assert row.name in announced, case
                    differing += 1
    return differing


@pytest.mark.parametrize(
    ("seed", "count"), [(1, 6), pytest.param(2, 100, marks=pytest.mark.thorough)]
)
def test_results_are_those_of_waffle_except_announced_ones(
    users: dict[str, Any], seed: int, count: int
) -> None:
    chance = random.Random(seed)
    rows = [random_flag(number, chance) for number in range(count)]
    found = document("import-waffle")["rows"]
    announced = {row["name"] for row in found if row["status"] == "differs"}
    assert 0 < compare(rows, users, announced) < len(rows) * len(users)


def test_listed_user_keeps_a_flag_that_a_test_parameter_turns_off(users: dict[str, Any]) -> None:
    row = flag(testing=True)
    row.users.add(users["listed"])
    [found] = document("import-waffle")["rows"]
    assert (found["status"], found["notes"]) == (
        "differs",
        ["its users keep the flag with dwft_…=0"],
    )
    assert row.is_active(request_of(row, users["listed"], "en", "0")) is False
    assert ours(row, users["listed"], "en", "0") is True


def test_request_without_a_user_has_only_languages_and_tests(users: dict[str, Any]) -> None:
    row = flag(authenticated=True, testing=True, languages="de", percent="99.9")
    document("import-waffle")
    for language, test, expected in (("de", None, True), ("fr", "1", True), ("fr", None, False)):
        request = request_of(row, None, language, test)
        del request.user
        assert bool(row.is_active(request)) is expected
        assert ours(row, None, language, test) is expected


def test_switches_have_the_same_results(users: dict[str, Any]) -> None:
    rows = [switch("on_one", active=True), switch("off_one", active=False)]
    document("import-waffle")
    for row in rows:
        assert row.is_active() is flag_enabled(row.name) is flag_enabled(row.name, users["plain"])
