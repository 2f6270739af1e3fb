"""The page of a plan: its state, charts, figures and events, and its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import starmap
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow, Row, find_row
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.duration import duration
from flagstaff._words.local_formats import local_number, local_time_text
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import CONFIRMED, ConfirmationMixin, PreviewRow, problems_of
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.permissions import may
from flagstaff.admin.views import VERSION, with_typed_reason
from flagstaff.conf import conf
from flagstaff.rollouts import plans
from flagstaff.rollouts.admin.buttons import (
    Button,
    buttons_of,
    preview,
    steps_after,
    version_of_plan,
)
from flagstaff.rollouts.admin.figures import Figures, figures_of_plan, problems
from flagstaff.rollouts.admin.forecasts import ForecastRow, forecast_rows
from flagstaff.rollouts.admin.steps_svg import steps_chart
from flagstaff.rollouts.admin.texts import (
    NONE,
    action_text,
    capitalized,
    guard_label,
    limit_text,
    ratio_text,
    state_label,
    state_name,
    state_sentence,
    time_of,
)
from flagstaff.rollouts.admin.warnings import warnings_of
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.guards import CALLABLE, Guard, guards_from_json
from flagstaff.rollouts.models import WATCHED_STATES, Plan, PlanEvent, State, StepRun
from flagstaff.rollouts.releasing import PlannedSteps
from flagstaff.rollouts.stored import problem_of_plan
from flagstaff.rollouts.transitions import steps_of

# The name of the buttons.
_BUTTON = "_plan"
_DELETE = "_delete"
# A plan that holds and continues for weeks has many.
_MAX_EVENTS = 100

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Plan]
else:
    _ModelAdmin = object


class PlanPageMixin(ConfirmationMixin, _ModelAdmin):
    """Put it before ModelAdmin, and after EnvironmentMixin."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of a plan. A POST of a button changes the plan."""
        plan = self.get_object(request, object_id or "")
        if plan is None:
            return cast(
                "HttpResponse",
                self._get_obj_does_not_exist_redirect(request, self.opts, object_id),  # type: ignore[attr-defined]
            )
        flag = _flag_of(plan)
        if request.method == "POST":
            if not may(self.admin_site, request, "toggle", flag):
                raise PermissionDenied
            return self._press(request, plan, flag)
        if not may(self.admin_site, request, "view", flag):
            raise PermissionDenied
        return self._page(request, plan, flag)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Deletes a plan after a confirmation. The flag stays as it is."""
        plan = self.get_object(request, object_id)
        if plan is None:
            raise Http404
        flag = _flag_of(plan)
        if not may(self.admin_site, request, "toggle", flag):
            raise PermissionDenied
        if plan.state in WATCHED_STATES:
            text = _("The plan of “%(key)s” is running. Pause it before you delete it.")
            self.message_user(request, text % {"key": plan.key}, messages.ERROR)
            return HttpResponseRedirect(self._url("change", plan.pk))
        if CONFIRMED not in request.POST:
            return self._confirm_deletion(request, plan, flag)
        text = _("The plan of “%(key)s” was deleted. The flag stays as it is.")
        text %= {"key": plan.key}
        self.log_change(request, plan, text)
        if _is_newest(plan):
            plans.delete(plan.key)
        else:
            plan.delete(using=conf.database)
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self._url("changelist"))

    def _press(self, request: HttpRequest, plan: Plan, flag: FlagRow | None) -> HttpResponse:
        name = request.POST.get(_BUTTON, "")
        buttons = buttons_of(plan) if _is_newest(plan) else ()
        button = next((one for one in buttons if one.name == name), None)
        asks = button is not None and bool(button.question)
        ahead = steps_after(plan, button, flag) if button is not None and asks else None
        typed = "" if ahead is None else ahead.text_to_type
        if button is None or (asks and request.POST.get(VERSION) != version_of_plan(plan)):
            text = _(
                "Not saved: the plan has changed since you opened the page. The page now shows the "
                "present state; press the button again."
            )
            self.message_user(request, with_typed_reason(request, text), messages.ERROR)
        elif asks and (problems := problems_of(request, typed)) != []:
            context = {
                "flagstaff_rows": [*preview(plan, button, flag), *_rows(ahead)],
                "flagstaff_notes": ahead.notes if ahead else [],
                "flagstaff_typed": typed,
                "flagstaff_problems": problems,
            }
            return self._confirm(request, plan, button, context)
        else:
            button.press(plan.key)
            text = str(button.done) % {"key": plan.key}
            self.log_change(request, plan, text)
            self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(request.get_full_path())

    def confirmation(
        self, request: HttpRequest, row: Row, context: Mapping[str, object]
    ) -> TemplateResponse:
        """Returns the page, with the breadcrumbs of the plan."""
        page = {
            "flagstaff_parent": "admin/change_form.html",
            "original": row.key,
            "has_view_permission": True,
            "media": self.media,
            **context,
        }
        return super().confirmation(request, row, page)

    def _confirm(
        self,
        request: HttpRequest,
        plan: Plan,
        button: Button,
        more: Mapping[str, object],
    ) -> HttpResponse:
        context = {
            "title": str(button.label),
            "flagstaff_question": str(button.question) % {"key": plan.key},
            "flagstaff_version": version_of_plan(plan),
            "flagstaff_button": _BUTTON,
            "flagstaff_target": button.name,
            "flagstaff_label": button.label,
            **more,
        }
        return self.confirmation(request, cast("Row", plan), context)

    def _confirm_deletion(
        self, request: HttpRequest, plan: Plan, flag: FlagRow | None
    ) -> HttpResponse:
        rollout = NONE if flag is None else f"{flag.rollout_percent} %"
        question = _(
            "Delete the rollout plan of “%(key)s” with its figures and events? The flag stays as "
            "it is."
        )
        context = {
            "title": _("Delete a rollout plan"),
            # The flag stays as it is.
            "flagstaff_needs_reason": False,
            "flagstaff_question": question % {"key": plan.key},
            "flagstaff_rows": [
                PreviewRow(_("plan"), state_name(plan), _("deleted")),
                PreviewRow(_("rollout"), rollout, rollout),
            ],
            "flagstaff_button": _DELETE,
            "flagstaff_target": "1",
            "flagstaff_label": _("Delete"),
            "flagstaff_back": self._url("change", plan.pk),
            "flagstaff_version": None,
        }
        return self.confirmation(request, cast("Row", plan), context)

    def _page(self, request: HttpRequest, plan: Plan, flag: FlagRow | None) -> HttpResponse:
        now = time_of(plan)
        problem = problem_of_plan(plan)
        may_change = may(self.admin_site, request, "toggle", flag)
        has_flag_page = flag is not None and may_view(self.admin_site, request, conf.flag_model)
        warnings: list[object] = [capitalized(localized(problem))] if problem else []
        context = {
            **self.admin_site.each_context(request),
            "title": _("Rollout plan of %(key)s") % {"key": plan.key},
            "opts": self.opts,
            "original": plan.key,
            "plan": plan,
            "media": self.media,
            "has_view_permission": True,
            "flag_url": page_url(self.admin_site, conf.flag_model, "change", plan.flag_pk)
            if has_flag_page
            else None,
            "warnings": [*warnings, *warnings_of(plan, flag, now)],
            "state_label": state_label(plan),
            "rules_grant": flag is not None and rules_can_grant(flag),
            "buttons": buttons_of(plan) if may_change and _is_newest(plan) else (),
            "version": version_of_plan(plan),
            "delete_url": self._url("delete", plan.pk)
            if may_change and plan.state not in WATCHED_STATES
            else None,
            "events": _event_rows(plan),
            "is_readable": problem is None,
            **({} if problem else _readable_context(plan, now)),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/rollouts/plan.html", context)

    def _url(self, page: str, *arguments: object) -> str:
        return page_url(self.admin_site, self.model, page, *arguments)


def _readable_context(plan: Plan, now: datetime) -> dict[str, object]:
    """Returns what needs the steps and the guards."""
    steps = _step_rows(plan, now)
    return {
        "state_sentence": state_sentence(plan, now),
        "chart": steps_chart(plan, now),
        "steps": steps,
        "has_times": any(step["when"] for step in steps),
        "guards": _guard_rows(plan),
        "required_users": local_number(plan.required_users),
        **_figures_context(plan, figures_of_plan(plan, now)),
    }


def _figures_context(plan: Plan, figures: Figures | None) -> dict[str, object]:
    if figures is None:
        return {"figures": None}
    forecasts: list[ForecastRow] = []
    if plan.state == State.PENDING:
        forecasts = forecast_rows(plan, figures)
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
        "forecasts": forecasts,
        "has_traffic": figures.evidence.users_inside + figures.evidence.users_outside > 0,
    }


def _event_rows(plan: Plan) -> list[dict[str, object]]:
    """Returns the events, newest first. Makes two queries."""
    found = PlanEvent.objects.using(conf.database).filter(plan=plan).order_by("-id")
    events = list(found[:_MAX_EVENTS])
    names = actor_table().names({event.actor for event in events if event.actor})
    return [
        {
            "at": event.at,
            "time": local_time_text(event.at),
            "kind": PlanEvent.Kind(event.kind).label,
            "text": localized(event.message),
            "actor": names.get(event.actor, event.actor),
        }
        for event in events
    ]


def _flag_of(plan: Plan) -> FlagRow | None:
    """Returns the flag of a plan, or None if it was deleted, or created again."""
    flag = cast("FlagRow | None", find_row(conf.flag_model, plan.key))
    return flag if flag is not None and str(flag.pk) == plan.flag_pk else None


def _is_newest(plan: Plan) -> bool:
    """Whether the plan is the one that is changed by its key. Makes up to two queries."""
    newest = plans.find_plan(plan.key)
    return newest is not None and newest.pk == plan.pk


def _rows(ahead: PlannedSteps | None) -> list[PreviewRow]:
    return [] if ahead is None else [*starmap(PreviewRow, ahead.rows)]


# The steps and the guards of a plan as rows of tables.


def _step_rows(plan: Plan, now: datetime) -> list[dict[str, object]]:
    """Returns a row for each step: percentage, time, and since when or from when. One query."""
    runs = StepRun.objects.using(conf.database).filter(plan=plan).exclude(step=None)
    began = {run.step: run.started_at for run in runs.order_by("id")}
    rows: list[dict[str, object]] = []
    expected = plan.due_at if plan.state in WATCHED_STATES else plan.starts_at
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


def _guard_rows(plan: Plan) -> list[dict[str, str]]:
    """Returns a row for each guard: what it watches, when a step passes, and what a trip does."""
    rows = []
    for guard in guards_from_json(plan.guards):
        passes = _("the function returns True")
        if guard.kind != CALLABLE:
            passes = _passes(guard)
        label = capitalized(guard_label(guard)) if guard.kind != CALLABLE else guard_label(guard)
        rows.append({"name": label, "passes": passes, "action": action_text(guard)})
    return rows


def _passes(guard: Guard) -> str:
    text = _("users inside fail less than %(limit)s times as often")
    if guard.tolerated > 1:
        text = _(
            "users inside fail less than %(limit)s times as often; up to %(tolerated)s times is "
            "tolerated"
        )
    return text % {"limit": limit_text(guard.limit), "tolerated": limit_text(guard.tolerated)}
