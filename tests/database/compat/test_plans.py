"""Rollout plans of flags whose percentage cookies of waffle decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.utils.timezone import localdate

from flagstaff import rollouts
from flagstaff.compat.models import WaffleRow
from flagstaff.exceptions import PlanError
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import State
from tests.support.rollouts import KEY, STEPS, drive_recently, make_flag, plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _imported_flag(db: None) -> None:
    drive_recently()
    make_flag()
    WaffleRow.objects.create(kind="flag", name="old name", key=KEY)


def serve(settings: Any, days: int | None, *, serve: object = True, **options: object) -> None:
    until = None if days is None else localdate() + timedelta(days=days)
    waffle = {"SERVE": serve, "KEEP_COOKIES_UNTIL": until, **options}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": waffle}


def test_plan_does_not_start_while_cookies_decide(settings: Any) -> None:
    serve(settings, 0)
    with pytest.raises(PlanError, match=f"until {localdate()}, so guards would not see"):
        rollouts.start(KEY, STEPS)


def test_plan_does_not_start_while_each_percentage_is_drawn(settings: Any) -> None:
    serve(settings, None, PERCENT="cookie")
    with pytest.raises(PlanError, match='set PERCENT in FLAGSTAFF\\["WAFFLE"\\] to "bucket"'):
        rollouts.start(KEY, STEPS)


def test_plan_of_a_flag_that_waffle_never_had_does_not_start_while_percentages_are_drawn(
    settings: Any,
) -> None:
    WaffleRow.objects.all().delete()
    serve(settings, None, PERCENT="cookie", serve=["new_*"])
    with pytest.raises(PlanError, match="cookies of waffle decide"):
        rollouts.start(KEY, STEPS)


def test_plan_of_a_flag_that_waffle_never_had_starts_while_cookies_are_kept(settings: Any) -> None:
    WaffleRow.objects.all().delete()
    serve(settings, 9)
    assert rollouts.start(KEY, STEPS).state == State.RUNNING


def test_plan_does_not_start_while_cookies_decide_without_waffle(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "waffle")
    serve(settings, 9, serve=False)
    with pytest.raises(PlanError, match="so guards would not see"):
        rollouts.start(KEY, STEPS)


def test_running_plan_is_paused_when_cookies_begin_to_decide(settings: Any) -> None:
    rollouts.start(KEY, STEPS)
    serve(settings, 9)
    [report] = run_plans()
    assert (report.event, plan_of().state) == ("paused", State.PAUSED)
    assert "cookies of waffle decide about its percentage" in report.message


@pytest.mark.parametrize(
    ("days", "served"), [(-1, True), (None, True), (9, False), (9, ["beta_*"])]
)
def test_plan_starts_if_no_cookie_decides(settings: Any, days: int | None, served: object) -> None:
    serve(settings, days, serve=served)
    assert rollouts.start(KEY, STEPS).state == State.RUNNING
