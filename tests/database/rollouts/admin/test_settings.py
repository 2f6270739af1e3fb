"""Rollout plans in the admin of projects with other settings of times and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils.formats import reset_format_cache
from pytest_django import Settings

from flagstaff import rollouts
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import FLAGS, act, page
from tests.support.plan_pages import PLANS, do, plan_url
from tests.support.rollouts import KEY, fail, make_flag, plan_of, run_of, see

# The time zone of the connection is that of the settings.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.thorough]

VARIANTS: dict[str, dict[str, Any]] = {
    "naive times": {"USE_TZ": False, "TIME_ZONE": "Europe/Berlin"},
    "German numbers": {"USE_THOUSAND_SEPARATOR": True, "LANGUAGE_CODE": "de"},
}


@pytest.fixture(autouse=True, params=VARIANTS)
def variant(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    """A project with these settings."""
    for name, value in VARIANTS[request.param].items():
        setattr(settings, name, value)
    reset_format_cache()
    connection.close()
    yield
    reset_format_cache()
    connection.close()


@pytest.fixture
def plan() -> Plan:
    make_flag(id=12_345)
    return rollouts.create(KEY, ["5:4h", "100"], guards=["errors", "latency=0.5"])


def test_pages_of_a_plan_open_in_every_state(admin_client: Client, plan: Plan) -> None:
    see(run_of(), inside=False, users=3000)
    fail(run_of(), inside=False, users=1500)
    for button, state in (
        ("start", State.RUNNING),
        ("pause", State.PAUSED),
        ("resume", State.RUNNING),
        ("roll-back", State.ROLLED_BACK),
    ):
        assert do(admin_client, plan, button).status_code == 200
        assert plan_of().state == state
        for url in (PLANS, FLAGS, f"{FLAGS}12345/change/", f"{PLANS}add/?key={KEY}"):
            assert page(admin_client, url)
    html = page(admin_client, plan_url(plan))
    assert "12.345" not in html
    # Numbers of charts are those that browsers read.
    assert 'x="25.00%"' in html
    assert ',5%"' not in html


def test_form_of_a_plan_is_saved_with_its_numbers(admin_client: Client) -> None:
    make_flag()
    fields = {"guards": "latency=0.5,limit=1.5", "required_users": "12345"}
    act(admin_client, f"{PLANS}add/?key={KEY}", **fields)
    [guard] = plan_of().guards
    assert (guard["seconds"], guard["limit"], plan_of().required_users) == (0.5, 1.5, 12_345)
