"""Who has rolled a plan back, from which step, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.times import local_time_text
from flagstaff.conf import conf
from flagstaff.rollouts.admin.texts import present_percent, state_sentence, time_html
from flagstaff.rollouts.admin.trips import guard_of_trip, trip_sentence
from flagstaff.rollouts.attention import was_rolled_back_by_person
from flagstaff.rollouts.models import Plan, PlanEvent, State
from flagstaff.rollouts.status import plan_percent
from flagstaff.rollouts.stored import steps_of

#: The names of those who have rolled plans back, by the primary keys of the plans.
People = Mapping[int, str]


def people_of(plans: Sequence[Plan]) -> People:
    """Returns who has rolled plans back by hand. Two queries, or none if nobody has."""
    pks = [plan.pk for plan in plans if was_rolled_back_by_person(plan)]
    if not pks:
        return {}
    events = PlanEvent.objects.using(conf.database).filter(
        plan__in=pks, kind=PlanEvent.Kind.ROLLED_BACK
    )
    # The last roll back of each plan.
    actors = dict(events.order_by("id").values_list("plan_id", "actor"))
    names = actor_table().names({actor for actor in actors.values() if actor})
    return {pk: names.get(actor, actor) for pk, actor in actors.items()}


def state_sentences(plan: Plan, now: datetime, people: People) -> list[str]:
    """Returns what the label of the state does not say: why the plan is in it, and its step.

    After a trip, the first sentence is what the guard has found.
    """
    found = trip_sentence(plan)
    if plan.state == State.ROLLED_BACK:
        state = _rolled_back_sentence(plan, people, with_reason=not found)
    else:
        state = state_sentence(plan, now, with_reason=not found)
    return [*([found] if found else []), state]


def rolled_back_note(plan: Plan, now: datetime, people: People) -> SafeString:
    """Returns that a person has rolled a plan back, in a few words for lists."""
    percent, who = plan_percent(plan), _who(plan, people)
    text = (
        _("rolled back by %(who)s") % {"who": who}
        if percent is None
        else _("rolled back by %(who)s at %(percent)s %%") % {"who": who, "percent": percent}
    )
    return format_html("{}, {}", text, time_html(plan.ended_at, now))


def reason_note(plan: Plan, people: People) -> str:
    """Returns why a plan is in its state, besides the label of the state."""
    if plan.state != State.ROLLED_BACK:
        return plan.reason
    if not was_rolled_back_by_person(plan):
        return plan.trip_reason
    text = _("by %(who)s") % {"who": _who(plan, people)}
    return _with_reason(text, plan.reason)


def _rolled_back_sentence(plan: Plan, people: People, *, with_reason: bool) -> str:
    text = _("By %(who)s at step %(step)s of %(steps)s, %(percent)s %%") % {
        "who": _who(plan, people),
        "step": (plan.step or 0) + 1,
        "steps": len(steps_of(plan)),
        "percent": present_percent(plan),
    }
    if plan.ended_at is not None:
        text = f"{text} · {local_time_text(plan.ended_at)}"
    # What a guard has found is `trip_reason`, without "rolled back" before it.
    return _with_reason(text, (plan.trip_reason or plan.reason) if with_reason else "")


def _with_reason(text: str, reason: str) -> str:
    return _("%(state)s — %(reason)s") % {"state": text, "reason": reason} if reason else text


def _who(plan: Plan, people: People) -> str:
    """Returns the person, or the guard. A guard that is a function is named by what it found."""
    if was_rolled_back_by_person(plan):
        return people.get(plan.pk) or pgettext("who rolled a plan back", "a person")
    if (guard := guard_of_trip(plan)) is None:
        return pgettext("who rolled a plan back", "a guard")
    text = pgettext("who rolled a plan back", "the guard %(guard)s")
    return text % {"guard": guard} if guard else pgettext("who rolled a plan back", "the brake")
