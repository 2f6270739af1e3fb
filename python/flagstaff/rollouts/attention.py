"""Whether a plan needs a person: after a trip, and while it holds or is paused by the driver.

It does until somebody resumes it or creates another plan.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from flagstaff.conf import conf
from flagstaff.rollouts.models import Plan, State


def needs_attention(plan: Plan) -> bool:
    """Whether a plan needs attention by its row. Makes no query."""
    return plan.reason_kind != ""


def needing_attention(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Returns those of the plans that need attention, without those that have a newer plan."""
    newer = Plan.objects.using(conf.database).filter(
        flag_pk=OuterRef("flag_pk"), pk__gt=OuterRef("pk")
    )
    is_newest = ~Q(state=State.ROLLED_BACK) | ~Exists(newer)
    return plans.filter(is_newest, ~Q(reason_kind=""))
