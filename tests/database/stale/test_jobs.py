"""The job of run-jobs that counts the stale flags."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.utils import timezone

from flagstaff.models import FeatureFlag, StaleCount
from tests.support.stale_flags import KEY, make_flag
from tests.support.terminals import flags

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stale() -> None:
    """A flag that is stale: it is past its review date."""
    make_flag()
    FeatureFlag.objects.filter(key=KEY).update(review_on=date(2020, 1, 1))


def test_run_jobs_stores_the_number_of_stale_flags() -> None:
    before = timezone.now()
    assert flags("run-jobs").status == 0

    [stored] = StaleCount.objects.all()
    assert stored.count == 1
    assert before <= stored.at <= timezone.now()


def test_stale_flags_are_counted_once_an_hour() -> None:
    flags("run-jobs")
    FeatureFlag.objects.all().delete()
    flags("run-jobs")
    assert StaleCount.objects.get().count == 1

    StaleCount.objects.update(at=timezone.now() - timedelta(hours=1))
    flags("run-jobs")
    assert StaleCount.objects.get().count == 0
