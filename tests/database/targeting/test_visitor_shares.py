"""The shares of a flag that is bucketed by visitor, over a million ids as browsers get them.

Each bound is 6 standard deviations: a fair share misses one of them once in 500 million runs.
"""

from __future__ import annotations

from math import sqrt

import pytest
from django.conf import settings

from flagstaff import flag_enabled, refresh
from flagstaff._engine.visitors import draw_id
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine

pytestmark = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

VISITORS = 1_000_000
SIGMAS = 6


def is_binomial(count: int, trials: int, share: float) -> bool:
    return abs(count - trials * share) <= SIGMAS * sqrt(trials * share * (1 - share))


def test_shares_of_a_million_visitors_are_binomial_and_independent_of_users() -> None:
    percents = {"one": 1, "quarter": 25, "half": 50}
    for key, percent in percents.items():
        for bucket_by in ("visitor", "user"):
            FeatureFlag.objects.create(
                key=f"{key}_{bucket_by}", enabled=True, rollout_percent=percent, bucket_by=bucket_by
            )
    visitors, both, users = (dict.fromkeys(percents, 0) for _ in range(3))
    with live_engine():
        refresh()
        for pk in range(VISITORS):
            context = {"visitor": draw_id()}
            for key in percents:
                by_visitor = flag_enabled(f"{key}_visitor", pk, context=context)
                by_user = flag_enabled(f"{key}_user", pk)
                visitors[key] += by_visitor
                users[key] += by_user
                both[key] += by_visitor and by_user
    for key, percent in percents.items():
        share = percent / 100
        assert is_binomial(visitors[key], VISITORS, share)
        # Among the users who have a flag, visitors have the other as often as among all.
        assert is_binomial(both[key], users[key], share)
