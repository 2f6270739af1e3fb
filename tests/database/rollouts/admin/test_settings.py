"""Rollout plans in the admin of a project with naive times and German numbers."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from django.utils.formats import reset_format_cache
from pytest_django import Settings

from flagstaff import rollouts
from flagstaff.rollouts.models import State
from tests.support.admin_pages import FLAGS, page
from tests.support.plans import KEY, PLANS, do, fail, make_flag, plan_of, plan_url, run_of, see

# The time zone of the connection is that of the settings.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.thorough]


@pytest.fixture(autouse=True)
def localized(settings: Settings) -> Iterator[None]:
    """A project with these settings."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    settings.USE_THOUSAND_SEPARATOR, settings.LANGUAGE_CODE = True, "de"
    reset_format_cache()
    connection.close()
    yield
    reset_format_cache()
    connection.close()


def test_pages_of_a_plan_open_in_every_state(admin_client: Client) -> None:
    make_flag(id=12_345)
    plan = rollouts.create(KEY, ["5:4h", "100"], guards=["errors", "latency=0.5"])
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
    # The numbers of drawings are those that browsers read.
    assert 'height="100"' in html
