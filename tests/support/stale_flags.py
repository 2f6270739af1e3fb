"""Flags with an older history and usage, for the tests of stale flags."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from flagstaff.models import FeatureFlag
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.signals import Assessment
from tests.support.sql import rows
from tests.support.usage_rows import add_reports, add_usage, delete_usage

KEY = "new_checkout"


def make_flag(key: str = KEY, *, days: float = 60, **fields: Any) -> FeatureFlag:
    """A flag for half of all users that was created so many days ago."""
    flag = FeatureFlag.objects.create(key=key, **{"enabled": True, "rollout_percent": 50, **fields})
    created = timezone.now() - timedelta(days=days)
    FeatureFlag.objects.filter(pk=flag.pk).update(created_at=created, changed_at=created)
    age_history(days, flag)
    return flag


def age_history(days: float, flag: FeatureFlag | None = None) -> None:
    """Makes the entries of the history older by so many days: all, or those of a flag."""
    rows(
        "UPDATE flagstaff_change SET at = at - make_interval(secs => %s) "
        "WHERE coalesce(%s, object_pk) = object_pk",
        days * 86_400,
        None if flag is None else str(flag.pk),
    )


def collect_usage(days: float = 90, *, until: float = 0, more: bool = False) -> None:
    """A worker that began to report so many days ago, and went on until so many days ago."""
    if not more:
        delete_usage()
    add_reports(days, until)


def evaluate(key: str, at: datetime | float = 0, *, times: int = 1) -> None:
    """Evaluations of a key at a time, or so many days ago."""
    add_usage(key, "true", times, at)


def serve(key: str, days: float = 0, *, to_browsers: bool = False) -> None:
    """A response in bulk with a flag, so many days ago."""
    add_usage(key, "browsers" if to_browsers else "bulk", 0, days)


def assess_one(key: str = KEY, days: int | None = None) -> Assessment:
    """The signals of one flag."""
    [flag] = [flag for flag in assess_flags(days) if flag.facts.key == key]
    return flag


def signals(key: str = KEY) -> dict[str, int]:
    """The days of each signal that holds for a flag."""
    return {finding.signal.value: finding.days for finding in assess_one(key).findings}
