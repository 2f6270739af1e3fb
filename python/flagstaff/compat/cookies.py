"""Refuses rollout plans for flags whose percentage is decided by cookies of waffle."""

from __future__ import annotations

from django.apps import apps

from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf

_UNTIL = Template(
    "cookies_of_waffle_decide_until",
    _(
        "cookies of waffle decide about its percentage until %(day)s, so guards would not see what "
        'browsers get; start later, or remove KEEP_COOKIES_UNTIL from FLAGSTAFF["WAFFLE"]'
    ),
)
_ALWAYS = Template(
    "cookies_of_waffle_decide",
    _(
        "cookies of waffle decide about its percentage, so guards would not see what browsers get; "
        'set PERCENT in FLAGSTAFF["WAFFLE"] to "bucket"'
    ),
)


def plan_problem(key: str) -> Message | None:
    """Returns why no rollout plan may raise the percentage of a flag. Makes at most one query."""
    settings = waffle_settings()
    # Without waffle, all that its call sites get comes from here.
    is_alone = not apps.is_installed("waffle")
    if not settings.keeps_cookies or not (is_alone or settings.serve):
        return None
    rows = WaffleRow.objects.using(conf.database).filter(kind="flag", key=key)
    names = [*rows.values_list("name", flat=True)]
    if settings.percent == "cookie":
        # Call sites of waffle draw also for a flag that waffle never had.
        names.append(key)
    if not (names if is_alone else any(map(settings.serves, names))):
        return None
    if settings.percent == "cookie" or settings.keep_cookies_until is None:
        return _ALWAYS()
    return _UNTIL(day=settings.keep_cookies_until.isoformat())
