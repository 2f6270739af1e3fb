"""Whether the workers run other builds than those that a run began with.

A run has the releases of the workers that measured when it began. Workers without a release always
count and are in no set, so nothing is ever left unmeasured. A rolling deploy is {A}, {A, B}, {B}:
two new runs, of which the last one is about B alone. A release that was in an earlier set and comes
back starts nothing, so a service that comes and goes costs one new run, not one each time.
"""

from __future__ import annotations

from flagstaff._tables.database import db
from flagstaff._text import Sentence, say, some
from flagstaff._workers.register import live_releases
from flagstaff.rollouts.models import Plan, StepRun


def present_releases() -> list[str] | None:
    """Returns the releases of the workers that measure now; None if none does. One query."""
    releases = live_releases("measurements")
    return None if releases is None else sorted(releases)


def release_change(plan: Plan, run: StepRun) -> Sentence | None:
    """Returns why the evidence of a run is about other builds, or None. Up to three queries.

    A run that began before any worker measured is given the present releases.
    """
    if plan.ignore_releases or not (present := present_releases()):
        return None
    if run.releases is None:
        run.releases = present
        run.save(using=db.alias, update_fields=["releases"])
        return None
    runs = db.rows(StepRun).filter(plan_id=plan.pk)
    known_releases = {
        release
        for releases in runs.values_list("releases", flat=True)
        for release in releases or ()
    }
    if appeared := set(present) - known_releases:
        return say("a new release appeared: {releases}", releases=some(sorted(appeared)))
    if gone := set(run.releases) - set(present):
        return say("a release has gone: {releases}", releases=some(sorted(gone)))
    return None
