"""Waffle and flagstaff have the same results after an import, except where the report says so."""

import random
from collections import Counter
from collections.abc import Iterator
from copy import copy
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.test import RequestFactory
from waffle.models import Flag

from flagstaff import flag_enabled
from flagstaff.contrib.waffle.evaluating import flag_result
from tests.support.repeats import repeats
from tests.support.terminals import document
from tests.support.waffle_rows import flag, switch


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


def request_of(row: Flag, user: Any, language: str, test: str | None = None) -> Any:
    parameters = {} if test is None else {f"dwft_{row.name}": test}
    request: Any = RequestFactory().get("/", parameters)
    request.user, request.LANGUAGE_CODE = user, language
    return request


def random_request(row: Flag, user: Any, chance: random.Random) -> Any:
    """Returns a request with some of the things that waffle reads."""
    name, test = row.name, f"dwft_{row.name}"
    cookies = {test: chance.choice(["1", "0", "2", None]), name: chance.choice(["1", "0", None])}
    request: Any = RequestFactory().get(
        "/", {key: cookie for key, cookie in cookies.items() if cookie}
    )
    if chance.random() < 0.2:
        request.META["HTTP_" + test.upper()] = chance.choice(["1", "0"])
    for cookie in (test, f"dwf_{name}"):
        if chance.random() < 0.3:
            request.COOKIES[cookie] = chance.choice(["True", "False"])
    if chance.random() < 0.9:
        request.user = user
    if chance.random() < 0.9:
        request.LANGUAGE_CODE = chance.choice(["de", "pt-br", "en"])
    return request


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


@pytest.mark.parametrize(
    ("seed", "count", "is_overridden"),
    [(1, repeats(50, 10), False), (2, 3, True)],
)
def test_results_are_those_of_waffle_except_announced_ones(
    users: dict[str, Any], seed: int, count: int, is_overridden: bool, settings: Any
) -> None:
    settings.WAFFLE_OVERRIDE = is_overridden
    chance = random.Random(seed)
    rows = [random_flag(number, chance) for number in range(count)]
    imported = document("import-waffle")["rows"]
    announced = {row["name"] for row in imported if row["status"] == "differs"}
    seen: Counter[tuple[bool, bool]] = Counter()
    for row, (name, user), _ in product(rows, users.items(), range(6)):
        request = random_request(row, user, chance)
        other = copy(request)
        theirs, result = bool(row.is_active(request)), flag_result(row.name, other)
        seen[theirs, bool(result)] += 1
        case = (row.name, name, request.GET, request.META, request.COOKIES)
        if theirs is not result:
            assert (result, name, row.testing) == (True, "listed", True), case
            assert row.name in announced, case
        # The cookies that the middleware of waffle sets.
        for name_of_cookies in ("waffles", "waffle_tests"):
            cookies = getattr(request, name_of_cookies, {})
            assert cookies == getattr(other, name_of_cookies, {}), case
    assert min(seen[True, True], seen[False, False]) > seen[False, True]


def test_listed_user_keeps_a_flag_that_a_test_parameter_turns_off(users: dict[str, Any]) -> None:
    row = flag(testing=True)
    row.users.add(users["listed"])
    [imported] = document("import-waffle")["rows"]
    assert (imported["status"], imported["notes"]) == (
        "differs",
        ["its users keep the flag with dwft_…=0"],
    )
    assert row.is_active(request_of(row, users["listed"], "en", "0")) is False
    assert flag_result(row.name, request_of(row, users["listed"], "en", "0")) is True


def test_request_without_a_user_has_only_languages_and_tests(users: dict[str, Any]) -> None:
    row = flag(authenticated=True, testing=True, languages="de", percent="99.9")
    document("import-waffle")
    for language, test, expected in (("de", None, True), ("fr", "1", True), ("fr", None, False)):
        request = request_of(row, None, language, test)
        del request.user
        assert bool(row.is_active(request)) is expected
        assert flag_result(row.name, request) is expected


def test_switches_have_the_same_results(users: dict[str, Any]) -> None:
    rows = [switch("on_one", active=True), switch("off_one", active=False)]
    document("import-waffle")
    for row in rows:
        assert row.is_active() is flag_enabled(row.name) is flag_enabled(row.name, users["plain"])
