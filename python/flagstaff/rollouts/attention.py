"""Whether a plan needs a person: after a trip, and while it holds or is paused by the driver.

It does until somebody acts: resumes it, changes the flag after a rollback, creates another plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists, OuterRef, Q, QuerySet

from flagstaff._tables.rows import FlagRow, all_rows
from flagstaff.conf import conf
from flagstaff.rollouts.flag_changes import digest_of
from flagstaff.rollouts.models import Plan, ReasonKind, State
from flagstaff.rollouts.unguarded import unguarded_plans


def needs_attention(plan: Plan) -> bool:
    """Whether a plan needs attention by its row. Makes no query.

    For a list, begin with `needing_attention`, and leave out those of `acted_on`.
    """
    return plan.reason_kind != ""


def was_rolled_back_by_person(plan: Plan) -> bool:
    """Whether a person, and not a guard, has rolled back a plan. Makes no query."""
    return plan.state == State.ROLLED_BACK and plan.reason_kind != ReasonKind.TRIPPED


def needing_attention(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Returns those of the plans that need attention, without those that have a newer plan."""
    is_newest = ~Q(state=State.ROLLED_BACK) | ~_has_newer()
    return plans.filter(is_newest, ~Q(reason_kind=""))


def rolled_back_by_person(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Returns those that a person has rolled back, without those that have a newer plan."""
    by_guard = Q(reason_kind=ReasonKind.TRIPPED)
    return plans.filter(~by_guard, ~_has_newer(), state=State.ROLLED_BACK)


def _has_newer() -> Exists:
    newer = Plan.objects.using(conf.database).filter(
        flag_pk=OuterRef("flag_pk"), pk__gt=OuterRef("pk")
    )
    return Exists(newer)


def acted_on(plans: Sequence[Plan], flags: Sequence[FlagRow] | None = None) -> set[int]:
    """Returns the primary keys of the rolled back plans whose flags were changed since.

    `flags` are those of the plans; without them, makes a query for them.
    """
    ended = [plan for plan in plans if plan.state == State.ROLLED_BACK]
    if not ended:
        return set()
    pks = {plan.flag_pk for plan in ended}
    if flags is None:
        flags = list(all_rows(conf.flag_model).filter(key__in=[plan.key for plan in ended]))
    flags = [flag for flag in flags if str(flag.pk) in pks]
    present = {str(flag.pk): digest_of(flag) for flag in flags}
    return {plan.pk for plan in ended if present.get(plan.flag_pk) != plan.seen_flag}


def plans_to_look_at() -> set[int]:
    """Returns the primary keys of the plans that need attention or are unguarded.

    Makes up to four queries.
    """
    found = list(needing_attention(Plan.objects.using(conf.database)).defer("salt"))
    unguarded = {plan.pk for plan in unguarded_plans()}
    return unguarded | ({plan.pk for plan in found} - acted_on(found))
