"""Which flags are stale, and which are not counted because too little is known."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.utils.timezone import override

from flagstaff._text import localized
from flagstaff._workers.usage import NOT_USED, KeyUsage, UsagePeriod
from flagstaff.stale.facts import problem_of_coverage
from flagstaff.stale.signals import (
    Assessment,
    Configuration,
    Constant,
    Facts,
    Finding,
    ReviewChange,
    Signal,
    Unknown,
    assess,
    constant_result,
)
from tests.support.conditions import rule
from tests.support.translations import german

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
TODAY = date(2026, 11, 20)
CONSTANT, NOT_EVALUATED, REVIEW = Signal


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """The days of these tests are those of UTC."""
    with override("UTC"):
        yield


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def judged(**facts: Any) -> Assessment:
    """A flag that is evaluated, unless `facts` say otherwise."""
    known = {"last_use": KeyUsage(last_evaluated_at=NOW), "counted_since": ago(90), **facts}
    return assess(Facts("1", "new_checkout", **known), now=NOW, today=TODAY, days=30)


def signals(**facts: Any) -> list[Signal]:
    return [finding.signal for finding in judged(**facts).findings]


def test_flag_without_a_signal_is_not_stale() -> None:
    assert not judged().is_stale


@pytest.mark.parametrize(("days", "expected"), [(29.9, []), (30, [CONSTANT]), (41, [CONSTANT])])
def test_constant_flag_is_stale_after_the_days(days: float, expected: list[Signal]) -> None:
    assert signals(constant=Constant(True, ago(days), is_exact=True)) == expected


def test_finding_of_a_constant_flag_has_its_evidence() -> None:
    [finding] = judged(constant=Constant(False, ago(41.5), is_exact=False)).findings
    assert finding == Finding(CONSTANT, ago(41.5), 41, is_exact=False, result=False)


@pytest.mark.parametrize(("days", "expected"), [(29, []), (30, [NOT_EVALUATED])])
def test_flag_is_stale_after_days_without_an_evaluation(days: int, expected: list[Signal]) -> None:
    assert signals(last_use=KeyUsage(last_evaluated_at=ago(days))) == expected


def test_flag_that_was_never_evaluated_is_stale_since_its_creation_or_the_counts() -> None:
    [finding] = judged(last_use=NOT_USED, counted_since=ago(45)).findings
    assert finding == Finding(NOT_EVALUATED, ago(45), 45, is_exact=False)
    [finding] = judged(last_use=NOT_USED, key_since=ago(40)).findings
    assert finding == Finding(NOT_EVALUATED, ago(40), 40, is_exact=True)
    assert judged(last_use=NOT_USED, key_since=ago(5)).findings == ()


def test_evaluations_that_are_not_all_counted_are_unknown() -> None:
    assessment = judged(last_use=NOT_USED, counted_since=None, usage_problem="off")
    assert (assessment.findings, assessment.unknown) == ((), (Unknown(NOT_EVALUATED, "off"),))
    assert not assessment.is_stale
    assessment = judged(
        last_use=KeyUsage(last_evaluated_at=ago(3)), counted_since=None, usage_problem="off"
    )
    assert assessment.unknown == ()


def test_flag_served_in_bulk_before_is_unused_since_then() -> None:
    [finding] = judged(
        last_use=KeyUsage(last_evaluated_at=ago(50), served_in_bulk_at=ago(40))
    ).findings
    assert finding == Finding(NOT_EVALUATED, ago(40), 40, is_exact=False)


@pytest.mark.parametrize("kind", ["ops", "permission"])
def test_permanent_flag_is_stale_only_after_its_review_date(kind: str) -> None:
    constant = Constant(True, ago(99), True)
    facts = {"kind": kind, "constant": constant, "last_use": KeyUsage(last_evaluated_at=ago(99))}
    assert signals(**facts) == []
    assert signals(**facts, review_on=date(2026, 11, 19)) == [REVIEW]


@pytest.mark.parametrize(("day", "expected"), [(19, [REVIEW]), (20, []), (21, [])])
def test_flag_is_stale_after_its_review_date(day: int, expected: list[Signal]) -> None:
    assert signals(review_on=date(2026, 11, day)) == expected


# Constant for 50 days, so stale for 20.
SHIPPED = {"constant": Constant(True, ago(50), is_exact=True)}


@pytest.mark.parametrize(
    ("day", "change", "expected"),
    [
        (21, ReviewChange(ago(20)), True),
        (21, ReviewChange(ago(20.1)), False),
        (20, ReviewChange(ago(20)), False),
        (21, None, False),
    ],
    ids=["set after", "set before", "due today", "unknown"],
)
def test_review_date_silences_a_flag_until_the_day_if_it_was_stale_when_it_was_set(
    day: int, change: ReviewChange | None, expected: bool
) -> None:
    assessment = judged(**SHIPPED, review_on=date(2026, 11, day), review_change=change)
    assert (assessment.is_silent, assessment.is_stale) == (expected, not expected)
    assert [finding.signal for finding in assessment.findings] == [CONSTANT]


@pytest.mark.parametrize(
    ("is_exact", "change", "silences"),
    [
        (True, ReviewChange(ago(1), is_creation=True), False),
        (False, ReviewChange(ago(1), is_creation=True), False),
        # The period may have begun before.
        (False, ReviewChange(ago(49)), True),
    ],
)
def test_review_date_of_the_creation_silences_nothing_and_a_later_one_an_inexact_period(
    is_exact: bool, change: ReviewChange, silences: bool
) -> None:
    constant = Constant(True, ago(50), is_exact=is_exact)
    assessment = judged(constant=constant, review_on=date(2026, 12, 1), review_change=change)
    assert assessment.is_silent is silences


@pytest.mark.parametrize(("days", "expected"), [(31, True), (30, False)])
def test_review_date_that_replaces_a_past_one_silences_other_signals(
    days: int, expected: bool
) -> None:
    before = (ago(days)).date()
    change = ReviewChange(ago(30), before=before)
    assessment = judged(**SHIPPED, review_on=date(2026, 12, 1), review_change=change)
    assert assessment.is_silent is expected


def test_one_signal_that_held_when_the_date_was_set_is_enough() -> None:
    change = ReviewChange(ago(10))
    facts = {**SHIPPED, "last_use": KeyUsage(last_evaluated_at=ago(35)), "review_change": change}
    assessment = judged(**facts, review_on=date(2026, 12, 1))
    assert (len(assessment.findings), assessment.is_silent) == (2, True)


def test_flag_can_have_all_signals() -> None:
    facts = {**SHIPPED, "last_use": KeyUsage(last_evaluated_at=ago(40))}
    assert signals(**facts, review_on=date(2026, 1, 1)) == [CONSTANT, NOT_EVALUATED, REVIEW]


WHOLE = UsagePeriod(ago(50), ago(0.01))


@pytest.mark.parametrize(
    ("coverage", "problem"),
    [
        (WHOLE, ""),
        (UsagePeriod(None, None), "no worker has reported its usage"),
        (UsagePeriod(ago(20), NOW), "usage is known only since 2026-10-31"),
        (UsagePeriod(ago(60), NOW, timedelta(days=3)), "for 3 days, no worker reported its usage"),
        (UsagePeriod(ago(60), NOW, timedelta(hours=36)), "for 1 day, no worker reported its usage"),
        (UsagePeriod(ago(60), NOW, timedelta(hours=23)), ""),
        (UsagePeriod(ago(60), ago(2)), "no worker has reported its usage since 2026-11-18"),
    ],
)
def test_usage_covers_the_days_if_workers_reported_all_the_time(
    coverage: UsagePeriod, problem: str
) -> None:
    assert problem_of_coverage(coverage, since=ago(30), now=NOW) == problem


def test_reason_why_usage_is_unknown_is_translated() -> None:
    reason = "no worker has reported its usage"
    with german({reason: "kein Worker hat gemeldet"}):
        text = localized(problem_of_coverage(UsagePeriod(None, None), since=ago(30), now=NOW))
    assert text == "kein Worker hat gemeldet"


@pytest.mark.parametrize(
    ("enabled", "percent", "rules_result", "has_users", "expected"),
    [
        (False, 100, None, True, False),
        (False, 100, "unreadable", True, False),
        (True, 100, None, False, True),
        (True, 100, [], True, True),
        (True, 0, None, False, False),
        (True, 0, None, True, None),
        (True, 99, [], False, None),
        (True, 100, [rule(rollout_percent=100)], False, True),
        (True, 100, [{"conditions": []}], False, True),
        (True, 100, [rule(rollout_percent=100), rule(rollout_percent=99)], False, None),
        (True, 0, [rule(rollout_percent=0)], False, False),
        (True, 0, [rule(rollout_percent=1)], False, None),
        (True, 0, [{"conditions": []}], False, None),
        (True, 100, {}, False, None),
        (True, 100, ["x"], False, None),
        (True, 100, [{"rollout_percent": "100"}], False, None),
        (True, 150, None, False, True),
    ],
)
def test_result_is_constant_unless_users_can_differ(
    enabled: bool, percent: int, rules_result: object, has_users: bool, expected: bool | None
) -> None:
    configuration = Configuration(enabled, percent, rules_result)
    assert constant_result(configuration, has_allowed_users=has_users) is expected
