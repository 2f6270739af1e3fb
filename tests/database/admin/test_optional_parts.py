"""The admin of flags while the table of an optional app cannot be read."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, kill, page
from tests.support.rollouts import KEY, make_flag

pytestmark = pytest.mark.django_db

BROKEN = [
    "ALTER TABLE flagstaff_rollouts_plan RENAME TO another",
    "UPDATE flagstaff_rollouts_plan SET state = 'pending', step = 0, steps = '3'",
    "UPDATE flagstaff_rollouts_plan SET steps = 'null', step = 99",
]


@pytest.fixture(params=BROKEN)
def flag(request: pytest.FixtureRequest) -> FeatureFlag:
    flag = make_flag()
    rollouts.create(KEY, ["5:1h"])
    with connection.cursor() as cursor:
        cursor.execute(request.param)
    return flag


def test_list_and_page_of_flags_are_there(admin_client: Client, flag: FeatureFlag) -> None:
    assert KEY in page(admin_client)
    assert KEY in page(admin_client, f"{FLAGS}{flag.pk}/change/")


def test_flag_is_killed(
    admin_client: Client, flag: FeatureFlag, caplog: pytest.LogCaptureFixture
) -> None:
    kill(admin_client, flag)
    flag.refresh_from_db()
    assert flag.enabled is False
    assert "flagstaff_rollouts cannot show its part of the flags" in caplog.text
