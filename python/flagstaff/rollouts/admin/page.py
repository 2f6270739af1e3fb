"""What the page of a plan shows: its state, charts, steps, guards and figures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import local_number, localized
from flagstaff._words.times import duration, local_time_text
from flagstaff.admin.links import may_view, page_url
from flagstaff.conf import conf
from flagstaff.rollouts.admin.figures import Figures, figures_of_plan, problems, side_text
from flagstaff.rollouts.admin.roll_backs import people_of, state_sentences
from flagstaff.rollouts.admin.steps_svg import steps_chart
from flagstaff.rollouts.admin.texts import (
    NONE,
    action_text,
    capitalized,
    guard_heading,
    guard_passes,
    ratio_text,
    state_label,
    time_of,
    users_text,
)
from flagstaff.rollouts.admin.trips import difference_text, since_text, trip_sentence
from flagstaff.rollouts.admin.warnings import too_few_users, warnings_of
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.guards import guards_from_json, numbered
from flagstaff.rollouts.models import ACTIVE_STATES, Plan, State, StepRun
from flagstaff.rollouts.results import GuardCounts
from flagstaff.rollouts.stored import problem_of_plan, steps_of
from flagstaff.rollouts.trip_figures import Trip, trip_of

_DAY, _ALL = 86_400, 100


def page_context(
    site: AdminSite, request: HttpRequest, plan: Plan, flag: FlagRow | None
) -> Mapping[str, object]:
    """Returns what the page of a plan shows besides its buttons and events."""
    now = time_of(plan)
    problem = problem_of_plan(plan)
    has_flag_page = flag is not None and may_view(site, request, conf.flag_model)
    warnings: list[object] = [capitalized(localized(problem))] if problem else []
    return {
        "page_class": "flagstaff-plan",
        "plan": plan,
        "flag_url": page_url(site, conf.flag_model, "change", plan.flag_pk)
        if has_flag_page
        else None,
        "warnings": [*warnings, *warnings_of(plan, flag, now)],
        "state_label": state_label(plan),
        "rules_grant": flag is not None and rules_can_grant(flag),
        "is_readable": problem is None,
        **({} if problem else _readable_context(plan, flag, now)),
    }


def _readable_context(plan: Plan, flag: FlagRow | None, now: datetime) -> dict[str, object]:
    """Returns what needs the steps and the guards."""
    steps = _step_rows(plan, now)
    figures, trip = figures_of_plan(plan, now), trip_of(plan)
    sentence, *facts = state_sentences(plan, now, people_of([plan]))
    facts += map(capitalized, filter(None, [difference_text(plan, flag)]))
    if flag is not None and not flag.enabled and plan.step is None:
        facts.append(_("The flag is off. The start of the plan turns it on."))
    is_open = plan.state in ACTIVE_STATES and flag is not None
    return {
        "state_sentence": sentence,
        "facts": facts,
        "few_users": too_few_users(plan, flag, plan.step or 0) if is_open and flag else "",
        "chart": steps_chart(plan, now, flag),
        "steps": steps,
        "has_times": any(step["when"] for step in steps),
        "guards": _guard_rows(plan, figures, trip),
        "required_users": local_number(plan.required_users),
        **_figures_context(plan, figures),
        # Later reports have changed the counts of a trip.
        **({"verdict": ""} if trip_sentence(plan) else {}),
    }


def _figures_context(plan: Plan, figures: Figures | None) -> dict[str, object]:
    if figures is None:
        return {"figures": None}
    verdict = figures.verdict
    # An ended measurement waits for nothing: only its trip is still true.
    if verdict and figures.run.ended_at and not verdict.trip:
        verdict = None
    harm = verdict.smallest_harm if verdict else None
    return {
        "figures": figures,
        "measured_at": f"{figures.run.percent} %",
        "measured_from": local_time_text(figures.run.started_at),
        "measured_until": local_time_text(figures.run.ended_at) if figures.run.ended_at else "",
        "verdict": capitalized(localized(verdict.why)) if verdict else "",
        "smallest_harm": None if harm is None else ratio_text(harm),
        "problems": problems(figures.evidence) if plan.run_id else [],
        "traffic": _traffic_text(plan, figures) if plan.step is None else "",
    }


def _traffic_text(plan: Plan, figures: Figures) -> str:
    """Returns how many users the first step will meet; empty if none was counted."""
    step, seen = steps_of(plan)[0], figures.evidence.users_inside + figures.evidence.users_outside
    if not seen:
        return ""
    per_day = seen * _DAY / figures.seconds
    text = _(
        "About %(users)s users a day evaluate this flag. At %(percent)s %% about %(inside)s of "
        "them have it; the step needs %(required)s."
    )
    return text % {
        "users": users_text(per_day),
        "percent": step.percent,
        "inside": users_text(per_day * step.percent / _ALL),
        "required": local_number(plan.required_users),
    }


# The steps and the guards of a plan as rows of tables.


def _step_rows(plan: Plan, now: datetime) -> list[dict[str, object]]:
    """Returns a row for each step: percentage, time, and since when or from when. One query."""
    runs = StepRun.objects.using(conf.database).filter(plan=plan).exclude(step=None)
    began = {run.step: run.started_at for run in runs.order_by("id")}
    rows: list[dict[str, object]] = []
    expected = plan.due_at
    is_active = plan.ended_at is None
    for index, step in enumerate(steps_of(plan)):
        is_later = plan.step is None or index > plan.step
        text = ""
        if not is_later and index in began:
            text = _("since %(time)s") if index == plan.step and is_active else _("began %(time)s")
            text %= {"time": local_time_text(began[index])}
        elif is_later and expected is not None:
            text = _("from %(time)s at the earliest") % {
                "time": local_time_text(max(expected, now))
            }
            expected = max(expected, now) + timedelta(seconds=step.seconds)
        rows.append(
            {
                "number": index + 1,
                "percent": f"{step.percent} %",
                "time": localized(duration(step.seconds)) if step.seconds else _("ends at once"),
                "when": text,
                "is_present": index == plan.step and plan.state != State.DONE,
            }
        )
    return rows


def _guard_rows(plan: Plan, figures: Figures | None, trip: Trip | None) -> list[dict[str, object]]:
    """Returns a row for each guard: what it watches, when a step passes, and what it has seen.

    After a trip, this is what it had seen then, and what was counted since.
    """
    guards = guards_from_json(plan.guards)
    numbers = {guard: number for number, guard in numbered(guards)}
    seen = figures.guards if figures else {}
    rows: list[dict[str, object]] = []
    for guard in guards:
        number = numbers.get(guard, -1)
        row: dict[str, object] = {
            "name": guard_heading(guard),
            "passes": guard_passes(guard),
            "action": action_text(guard),
            "seen": (one := seen.get(number)),
            "inside": one and one.inside,
            "outside": one and one.outside,
        }
        if trip is not None and (failed := trip.failed.get(number)):
            row["inside"] = side_text(failed.inside, trip.figures["users_inside"])
            row["outside"] = side_text(failed.outside, trip.figures["users_outside"])
            since = trip.since.get(number, GuardCounts())
            row["since"] = since_text(since.inside, since.outside)
        row["is_counted"] = bool({row["inside"], row["outside"]} - {None, NONE})
        rows.append(row)
    return rows
