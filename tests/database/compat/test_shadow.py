"""The shadow: flagstaff evaluates what waffle has evaluated, and differences are counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from waffle.models import Flag, Sample, Switch

from flagstaff import _core
from flagstaff._engine import log_once
from flagstaff.compat import shadow, stale_rows
from flagstaff.compat.models import Difference
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED
from tests.support.shadow import (
    NAME,
    evaluate,
    evaluate_other,
    flag,
    request_of,
    take_over,
    user,
    wait_for_checks,
)

pytestmark = COMMITTED

Counted = list[tuple[Any, ...]]
IN_ITALY = [{"conditions": [{"attribute": "language", "operator": "in", "values": ["it"]}]}]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Checks without a delay, and knows nothing of an earlier test."""
    monkeypatch.setattr(stale_rows, "_delay", lambda: 0.0)
    cache.clear()
    stale_rows._findings.clear()
    log_once.after_fork()
    yield
    wait_for_checks()
    cache.clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The arguments of each count."""
    found: Counted = []
    monkeypatch.setattr(_core, "count_difference", lambda *arguments: found.append(arguments))
    return found


def causes(counted: Counted) -> list[str]:
    wait_for_checks()
    return [arguments[2] for arguments in counted]


# Equal results.


def test_equal_results_of_each_kind_are_counted_without_an_example(counted: Counted) -> None:
    alice = user()
    flag().users.add(alice)
    take_over(Flag.objects.get())
    switch = Switch.objects.create(name="search", active=True)
    sample = Sample.objects.create(name="traces", percent=100)
    for row in (switch, sample):
        take_over(row)
    with live_engine():
        assert evaluate(request_of(alice)) is True
        assert evaluate(request_of(user("bob"))) is False
        for row in (switch, sample):
            assert evaluate_other(row) is True
    assert counted == [
        ("flag", NAME, "equal", True, True, "", ""),
        ("flag", NAME, "equal", False, False, "", ""),
        ("switch", "search", "equal", True, True, "", ""),
        ("sample", "traces", "equal", True, True, "", ""),
    ]


@pytest.mark.parametrize(
    ("url", "header", "cookie"),
    [
        ("/?dwft_new_checkout=1", None, None),
        ("/?dwft_new_checkout=0", "1", "True"),
        ("/", "1", "False"),
        ("/", "0", "True"),
        ("/", None, "True"),
        ("/", None, "False"),
    ],
)
def test_test_parameter_is_read_as_waffle_reads_it(
    url: str, header: str | None, cookie: str | None, counted: Counted
) -> None:
    take_over(flag(testing=True, authenticated=True))
    for test_user in (None, user()):
        request = request_of(test_user, url)
        if header is not None:
            request.META["HTTP_DWFT_NEW_CHECKOUT"] = header
        if cookie is not None:
            request.COOKIES["dwft_new_checkout"] = cookie
        with live_engine():
            evaluate(request)
    assert causes(counted) == ["equal", "equal"]


def test_names_of_parameters_follow_the_settings_of_waffle(counted: Counted, settings: Any) -> None:
    take_over(flag(testing=True, percent=50))
    settings.WAFFLE_TEST_COOKIE, settings.WAFFLE_COOKIE = "try_%s", "keep_%s"
    with live_engine():
        assert evaluate(request_of(None, "/?try_new_checkout=1")) is True
        assert evaluate(request_of(keep_new_checkout="True")) is True
        assert evaluate(request_of(keep_new_checkout="False")) is False
    assert causes(counted) == ["equal"] * 3


def test_percentage_follows_what_waffle_has_drawn(counted: Counted) -> None:
    take_over(flag(percent=50))
    with live_engine():
        results = {evaluate(request_of()) for _ in range(50)}
        for text in ("True", "False", "other"):
            evaluate(request_of(dwf_new_checkout=text))
            evaluate(request_of(dwf_new_checkout=text), read_only=True)
        without_user = request_of(dwf_new_checkout="True")
        del without_user.user
        assert evaluate(without_user) is False
    assert results == {True, False}
    assert set(causes(counted)) == {"equal"}


def _random_flag(random: Random, number: int) -> Any:
    row = flag(
        f"flag_{number}",
        everyone=random.choice((None, None, None, True, False)),
        percent=random.choice((None, None, 0.1, 33.3, 99.9)),
        languages=random.choice(("", "it", "it, fr")),
        **{
            name: random.random() < 0.3
            for name in ("testing", "superusers", "staff", "authenticated", "rollout")
        },
    )
    # The import reports that a tester who is listed keeps the flag.
    if not row.testing:
        row.users.set(random.sample([*User.objects.all()], 2))
    row.groups.set(random.sample([*Group.objects.all()], random.randrange(2)))
    return row


def _random_request(random: Random, row: Flag, users: list[User]) -> HttpRequest:
    lazy: Any = SimpleLazyObject(lambda: users[0])
    # Without one of these, waffle fails to read the groups of a user without a primary key.
    unsaved = [User(username="unsaved", is_staff=True)] if row.staff or row.authenticated else []
    request = request_of(random.choice([AnonymousUser(), lazy, *unsaved, *users]))
    if random.random() < 0.1:
        del request.user
    if random.random() < 0.5:
        request.LANGUAGE_CODE = random.choice(("it", "de"))
    if random.random() < 0.3:
        request.GET = {f"dwft_{row.name}": random.choice("01")}  # type: ignore[assignment]
    for prefix in ("dwft", "dwf"):
        if random.random() < 0.3:
            request.COOKIES[f"{prefix}_{row.name}"] = random.choice(("True", "False"))
    return request


def test_random_flags_have_the_same_results_for_random_requests(counted: Counted) -> None:
    random = Random(38)
    groups = [Group.objects.create(name=f"group {number}") for number in range(2)]
    users = [user(f"user_{n}", is_staff=n == 1, is_superuser=n == 2) for n in range(5)]
    users[3].groups.add(groups[0])
    rows = [_random_flag(random, number) for number in range(60)]
    for row in rows:
        take_over(row)
    with live_engine():
        for row in rows:
            for _ in range(10):
                evaluate(_random_request(random, row, users), row.name)
    assert causes(counted) == ["equal"] * 600
    results = [arguments[3] for arguments in counted]
    assert 100 < sum(results) < 500


# What is not compared.


def test_row_that_neither_side_has_is_not_compared(counted: Counted) -> None:
    with live_engine():
        evaluate(request_of(), "unknown")
    assert counted == []


def test_row_that_only_flagstaff_has_is_compared(counted: Counted) -> None:
    FeatureFlag.objects.create(key=NAME, enabled=True, rollout_percent=100)
    with live_engine():
        evaluate(request_of())
    assert causes(counted) == ["other"]


def test_overridden_flag_is_not_compared(counted: Counted, settings: Any) -> None:
    take_over(flag())
    with live_engine():
        evaluate(request_of(None, "/?new_checkout=1"))
        settings.WAFFLE_OVERRIDE = True
        evaluate(request_of(None, "/?new_checkout=1"))
    assert len(counted) == 1


def test_model_that_overrides_a_method_is_not_compared(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag()
    monkeypatch.setattr(shadow, "overridden_methods", lambda model: ("is_active",))
    with live_engine():
        evaluate(request_of())
    assert counted == []


def test_direct_mode_compares_nothing(counted: Counted) -> None:
    flag()
    evaluate(request_of())
    assert counted == []


def test_share_of_evaluations_is_compared(counted: Counted, settings: Any) -> None:
    take_over(flag())
    with live_engine():
        for share in (0, 0.5, 1):
            settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SHADOW": share}}
            counted.clear()
            for _ in range(200):
                evaluate(request_of())
            assert len(counted) == share * 200 or (share == 0.5 and 60 < len(counted) < 140)


# Differences.


def test_flag_that_was_not_imported_is_counted_with_either_result(counted: Counted) -> None:
    row = Switch.objects.create(name="search", active=True)
    with live_engine():
        evaluate_other(row)
        row.active = False
        row.save()
        evaluate_other(row)
    assert counted == [
        ("switch", "search", "no flag", True, False, "", ""),
        ("switch", "search", "no flag", False, False, "", ""),
    ]


def test_difference_has_the_user_and_the_path_without_the_query(counted: Counted) -> None:
    take_over(flag(authenticated=True), rules=[])
    alice = user()
    with live_engine():
        evaluate(request_of(alice, "/cart/?card=1234"))
        wait_for_checks()
    assert counted == [("flag", NAME, "rule", True, False, str(alice.pk), "/cart/")]


@pytest.mark.parametrize(
    ("fields", "changes", "cause"),
    [
        # Waffle's own settings decide there.
        ({"authenticated": True}, {"rules": []}, "rule"),
        ({"languages": "it"}, {"rules": []}, "rule"),
        ({"languages": "it", "percent": 0.1}, {"rules": []}, "rule"),
        # A rule decides here.
        ({}, {"rules": IN_ITALY}, "rule"),
        # It was turned on or off on one side.
        ({"everyone": True}, {"enabled": False}, "other"),
        ({"everyone": False}, {"enabled": True, "rollout_percent": 100}, "other"),
        ({}, {"rollout_percent": 100}, "other"),
        ({"percent": 99.9}, {"enabled": False}, "other"),
        ({"percent": 0.1}, {"rollout_percent": 100}, "other"),
    ],
)
def test_difference_has_the_cause(
    fields: Any, changes: Any, cause: str, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waffle.models.random.uniform", lambda low, high: 50.0)
    take_over(flag(**fields), **changes)
    request = request_of(user())
    request.LANGUAGE_CODE = "it"
    with live_engine():
        evaluate(request)
    assert causes(counted) == [cause]


def test_bucket_where_waffle_draws_nothing_is_a_percentage(counted: Counted) -> None:
    take_over(flag(percent=99.9), bucket_by="user", rollout_percent=99)
    users = [user(f"user_{number}", pk=number) for number in range(1, 4)]
    with live_engine():
        for one in users:
            assert evaluate(request_of(one), read_only=True) is False
    assert causes(counted) == ["percentage"] * 3


def test_percentage_that_only_flagstaff_has_is_not_expected(counted: Counted) -> None:
    take_over(flag(), bucket_by="user", rollout_percent=99)
    # In bucket 2.
    with live_engine():
        evaluate(request_of(user(pk=1)))
    assert causes(counted) == ["other"]


def test_difference_for_a_user_without_a_primary_key_has_its_own_cause(counted: Counted) -> None:
    take_over(flag(authenticated=True), rules=[])
    with live_engine():
        evaluate(request_of(User(username="unsaved")))
    assert counted == [("flag", NAME, "unsaved user", True, False, "", "/cart/")]


@pytest.mark.parametrize(
    ("percent", "changes", "cause"),
    [
        ("30.4", {}, "equal"),
        ("0.1", {}, "equal"),
        ("99.9", {}, "equal"),
        ("0", {}, "equal"),
        ("30", {"rollout_percent": 60}, "other"),
        ("30", {"enabled": False}, "other"),
        ("100", {"rollout_percent": 99}, "other"),
        ("0.1", {"rollout_percent": 0}, "other"),
    ],
)
def test_percentages_of_samples_are_compared(
    percent: str, changes: Any, cause: str, counted: Counted
) -> None:
    sample = Sample.objects.create(name="traces", percent=percent)
    take_over(sample, **changes)
    with live_engine():
        for _ in range(5):
            evaluate_other(sample)
    assert causes(counted) == [cause] * 5


# An outdated row of waffle's cache.


def test_outdated_row_of_the_cache_is_a_cause_of_its_own(counted: Counted) -> None:
    take_over(flag(everyone=True), enabled=False)
    evaluate(request_of())  # Fills the cache.
    Flag.objects.update(everyone=False)
    with live_engine():
        assert evaluate(request_of()) is True
        wait_for_checks()
        assert evaluate(request_of()) is True
    assert causes(counted) == ["stale cache"] * 2


def test_outdated_users_of_the_cache_are_a_cause_of_its_own(counted: Counted) -> None:
    alice = user()
    row = flag()
    row.users.add(alice)
    evaluate(request_of(alice))
    row.users.clear()
    take_over(row)
    with live_engine():
        assert evaluate(request_of(alice)) is True
    assert causes(counted) == ["stale cache"]


def test_row_that_was_created_after_waffle_looked_for_it_is_outdated(counted: Counted) -> None:
    evaluate(request_of())
    Flag.objects.bulk_create([Flag(name=NAME, everyone=True)])
    take_over(Flag.objects.get())
    with live_engine():
        assert evaluate(request_of()) is False
    assert causes(counted) == ["stale cache"]


def test_change_that_flagstaff_hears_of_later_is_only_a_difference_of_time(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_over(flag(everyone=True), enabled=False)

    def hear() -> float:
        FeatureFlag.objects.update(enabled=True)
        _core.refresh(10)
        return 0.0

    monkeypatch.setattr(stale_rows, "_delay", hear)
    with live_engine():
        evaluate(request_of())
        wait_for_checks()
    assert causes(counted) == ["stale cache"]


def test_row_is_checked_once_a_minute_and_again_when_it_changes(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[object] = []
    is_outdated = stale_rows._is_outdated

    def count(row: object) -> bool:
        checks.append(row)
        return is_outdated(row)

    monkeypatch.setattr(stale_rows, "_is_outdated", count)
    row = flag(everyone=True)
    take_over(row, enabled=False)
    with live_engine():
        for number in range(6):
            for _ in range(3):
                evaluate(request_of())
                wait_for_checks()
            row.note = f"note {number}"
            row.save()
        assert len(checks) == stale_rows._MAX_CHECKS
        stale_rows._findings[("flag", NAME)].until = 0.0
        evaluate(request_of())
        wait_for_checks()
        assert len(checks) == stale_rows._MAX_CHECKS + 1
    assert causes(counted) == ["other"] * 19


def test_row_that_cannot_be_read_is_counted_with_its_first_cause(
    counted: Counted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(row: object) -> bool:
        raise ValueError("secret")

    monkeypatch.setattr(stale_rows, "_is_outdated", fail)
    take_over(flag(everyone=True), enabled=False)
    with live_engine():
        evaluate(request_of())
    assert causes(counted) == ["other"]
    assert "the rows of waffle cannot be read: ValueError in " in caplog.text
    assert "secret" not in caplog.text


def test_more_differences_than_can_wait_are_counted_at_once(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_rows, "_MAX_WAITING", 0)
    take_over(flag(everyone=True), enabled=False)
    with live_engine():
        evaluate(request_of())
    assert stale_rows._thread is None
    assert [arguments[2] for arguments in counted] == ["other"]


def test_forked_child_checks_in_a_thread_of_its_own(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_rows, "_thread", object())
    stale_rows._after_fork()
    take_over(flag(everyone=True), enabled=False)
    with live_engine():
        evaluate(request_of())
    assert causes(counted) == ["other"]


# A request notices nothing.


def test_comparison_queries_nothing_and_sets_no_cookie(counted: Counted) -> None:
    take_over(flag(percent=50, authenticated=True))
    take_over(flag("other"), rollout_percent=50)
    alice = user()
    with live_engine():
        for one in (alice, None):
            for name in (NAME, "other"):
                evaluate(request_of(one), name)
        with CaptureQueriesContext(connection) as queries:
            for one in (alice, None):
                for name in (NAME, "other"):
                    request = request_of(one)
                    evaluate(request, name)
                    assert not hasattr(request, "_flagstaff_visitor")
    assert queries.captured_queries == []
    assert len(counted) == 8


def test_difference_queries_nothing_on_the_connection_of_the_request(counted: Counted) -> None:
    take_over(flag(authenticated=True), rules=[])
    alice = user()
    evaluate(request_of(alice))
    with live_engine(), CaptureQueriesContext(connection) as queries:
        evaluate(request_of(alice))
        wait_for_checks()
    assert queries.captured_queries == []
    assert causes(counted) == ["rule"]


@pytest.mark.parametrize("enabled", [True, False])
def test_lazy_user_that_waffle_has_not_loaded_stays_unloaded(
    enabled: bool, counted: Counted
) -> None:
    def load() -> User:
        raise AssertionError("the user was loaded")

    take_over(flag(everyone=True), enabled=enabled)
    with live_engine():
        evaluate(request_of(SimpleLazyObject(load)))
    assert causes(counted) == ["equal" if enabled else "other"]


def test_error_is_logged_once_and_waffles_result_stays(
    counted: Counted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, request: object) -> dict[str, object]:
        raise ValueError("secret")

    monkeypatch.setattr(shadow, "context_of", fail)
    flag(everyone=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert evaluate(request_of()) is True
    [record] = caplog.records
    assert record.message.startswith("the results of waffle and flagstaff cannot be compared: ")
    assert "ValueError" in record.message
    assert "secret" not in record.message


def test_counts_are_written_with_the_first_example(settings: Any) -> None:
    take_over(flag(authenticated=True), rules=[])
    alice, bob = user(), user("bob")
    with live_engine():
        for one in (alice, bob, None):
            evaluate(request_of(one, f"/{one}/"))
        wait_for_checks()
    found = Difference.objects.order_by("cause").values_list(
        *("kind", "name", "cause", "waffle", "flagstaff", "count", "user_pk", "path")
    )
    assert [*found] == [
        ("flag", NAME, "equal", False, False, 1, "", ""),
        ("flag", NAME, "rule", True, False, 2, str(alice.pk), "/alice/"),
    ]
