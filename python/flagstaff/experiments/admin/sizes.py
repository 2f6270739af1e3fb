"""What the planned units of a draft can detect, as rows of a table."""

from __future__ import annotations

from django.utils.translation import gettext as _

from flagstaff.experiments.admin.texts import percent_text, signed
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.statistics import detectable_proportion, least_users_of_proportion

__all__ = ["size_rows"]

_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)


def size_rows(experiment: Experiment) -> list[tuple[str, str, str]]:
    """Returns for some shares the smallest share above that is detected, and its lift.

    With a probability of 80 %, by two variants of the same size. Makes no query.
    """
    users = max(experiment.planned_users // max(len(experiment.variants), 1), 1)
    return [_row(share, _detectable(share, users)) for share in _SHARES]


def _detectable(share: float, users: int) -> float | None:
    """Returns the smallest share above that is detected; None if it would have no interval."""
    if users < least_users_of_proportion(share):
        return None
    return detectable_proportion(share, users)


def _row(share: float, found: float | None) -> tuple[str, str, str]:
    if found is None:
        return percent_text(share), _("none"), ""
    return percent_text(share), percent_text(found), signed(found / share - 1, percent_text)
