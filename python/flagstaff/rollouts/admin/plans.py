"""The admin of rollout plans: a list, a page for each plan, and the pages of its actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import starmap
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Q, QuerySet, When
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow, all_rows, find_row, flag_row, unknown_row
from flagstaff._words.text import localized
from flagstaff.actions import Action, Argument
from flagstaff.actions.rights import Right
from flagstaff.admin.app_rows import AppRequest, AppRowAdmin
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.flag.state import summary_of, users_row
from flagstaff.admin.links import page_url
from flagstaff.admin.question import SHORT_COUNT, Preview
from flagstaff.admin.rights import hidden_rows, may, may_view
from flagstaff.admin.row_page import Head, Section
from flagstaff.admin.words import badge, colour_of, key_link, two_lines
from flagstaff.changes.changed import quoted_command
from flagstaff.changes.consequence import impact_text
from flagstaff.changes.impact import impact
from flagstaff.changes.row_states import RowState
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.rollouts import plans
from flagstaff.rollouts.actions import PLAN
from flagstaff.rollouts.admin.sections import guard_text, sections_of
from flagstaff.rollouts.admin.texts import NONE, state_name, state_sentence
from flagstaff.rollouts.guards import parse_guards
from flagstaff.rollouts.models import (
    ACTIVE_STATES,
    WATCHED_STATES,
    DriverRun,
    Plan,
    PlanEvent,
    State,
)
from flagstaff.rollouts.planned_steps import planned_steps
from flagstaff.rollouts.requirements import (
    present_rollout,
    problem_of_database,
    problem_of_driver,
    problem_of_first_step,
    problem_of_flag,
    require,
)
from flagstaff.rollouts.status import evidence_of
from flagstaff.rollouts.steps import ALL, USUAL, parse_steps
from flagstaff.rollouts.traffic import notes_of
from flagstaff.rollouts.transitions import rolled_back_fields

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

# These give the flag to more users.
_GIVING = ("start", "resume")


class PlanRequest(AppRequest):
    """A request to the page of an action of a plan."""

    def _arguments(self) -> Mapping[str, tuple[Argument, bool]]:
        """What has been planned does not change: only a new plan has arguments."""
        return super()._arguments() if self.action.creates else {}

    def _initial(self, fields: Mapping[str, forms.Field]) -> dict[str, Any]:
        """The last plan of the flag, or the default plan."""
        if not self.action.creates:
            return {}
        key = self.request.GET.get("key", "")
        row = all_rows(conf.flag_model).filter(key=key).first() if key else None
        flag: Any = row if row and self._may("view", row) else None
        above = present_rollout(flag) if flag else 0
        defaults = plans.default_plan(flag) if flag and above < ALL else USUAL
        steps, guards, compare = defaults.steps, ["errors"], ""
        required, ignores = defaults.required_users, False
        queryset = self.admin.get_queryset(self.request)
        last = queryset.filter(key=key).order_by("-id").first() if flag else None
        if last is not None and not last.problem:
            steps, guards = last.read_steps(), last.guards
            required, ignores = last.required_users, last.ignore_releases
            compare = last.compare
        return {
            "steps": "\n".join(str(step) for step in steps if step.percent >= above),
            "guards": "\n".join(guards),
            "required_users": str(required),
            "compare": compare,
            "ignore_releases": ignores,
        }

    def prepare_form(self, form: forms.Form) -> None:
        """Names the fields of a new plan."""
        labels = {
            "key": _("Flag"),
            "required_users": _("Required users"),
            "compare": _("Compare"),
            "ignore_releases": _("Ignore releases"),
        }
        for name in form.fields.keys() & labels:
            form.fields[name].label = labels[name]

    def _may(self, right: Right, flag: Any) -> bool:
        return may(self.site, self.request, right, flag)

    def preview(self, arguments: dict[str, Any]) -> Preview:
        """What an action does to the plan, to its flag and to the users."""
        action, row = self.action, self.row
        if row is None:
            return self._new_plan(arguments)
        flag = row.flag
        now = NONE if flag is None else f"{flag.rollout_percent} %"
        if action.name in _GIVING:
            require(row.key, row.problem, problem_of_database())
        if action.name in _GIVING and flag is not None:
            return self._next_step(row, flag)
        notes, after = list[str](), now
        if action.name == "pause":
            state = str(State.PAUSED.label)
        elif action.name == "roll-back":
            state, after = str(State.ROLLED_BACK.label), "0 %"
        else:
            state = _("deleted")
            notes.append(
                _("The flag stays as it is. The events and the figures of the plan are deleted.")
            )
        rows = [_plan_row(row, state), PreviewRow(_("rollout"), now, after)]
        if action.name == "roll-back" and flag is not None:
            present = RowState(Kind.FLAG, flag)
            rolled_back = present.after(rolled_back_fields(flag))
            if flag.enabled and not rolled_back.row.enabled:
                rows.append(PreviewRow(_("flag"), _on(), _off()))
            viewer = self.request.user
            effects = impact([present], [rolled_back], timeout=SHORT_COUNT, viewer=viewer)
            rows += [users_row(effects, key) for key in effects]
            notes += filter(None, [impact_text(effects)])
        return Preview(rows=rows, notes=notes)

    def summary(self, row: Any) -> str:
        """The sentence that says which users have the flag now."""
        flag = find_row(conf.flag_model, row.key)
        return "" if flag is None else summary_of(flag)

    def _new_plan(self, arguments: Mapping[str, Any]) -> Preview:
        """The steps and the guards as a table. Nothing is given to users before the start."""
        flag: Any = flag_row(arguments["key"])
        if not self._may("view", flag):
            raise unknown_row(conf.flag_model, arguments["key"])
        if not self._may("toggle", flag):
            raise PermissionDenied
        # At 100 %, no steps are possible.
        plans.default_plan(flag)
        steps, guards = parse_steps(arguments["steps"]), parse_guards(arguments["guards"])
        rows, percent = [], present_rollout(flag)
        for number, step in enumerate(steps, 1):
            label = _("Step %(number)s") % {"number": number}
            rows.append(PreviewRow(label, f"{percent} %", localized(step.text)))
            percent = step.percent
        rows += [PreviewRow(_("Guard"), "", guard_text(guard)) for guard in guards]
        plan = Plan(steps=[*map(str, steps)], guards=[*map(str, guards)])
        plan.ignore_releases = bool(arguments.get("ignore_releases"))
        plan.required_users = arguments.get("required_users", USUAL.required_users)
        return Preview(rows=rows, notes=[*_alarms(plan, flag), *_notes(plan, flag, 0)])

    def _next_step(self, plan: Plan, flag: FlagRow) -> Preview:
        """The step to which a start or a resume leads, with its users and those of the last."""
        enables = self.action.name == "start" and not flag.enabled
        index = plan.step if plan.step is not None and plan.state == State.PAUSED else 0
        steps = plan.read_steps()
        require(plan.key, problem_of_flag(flag, enable=enables))
        if plan.state == State.PENDING:
            require(plan.key, problem_of_first_step(flag, steps[0]))
        # Before the count: then newer changes are a conflict.
        version = version_of(Kind.FLAG, flag.pk)
        viewer = self.request.user
        ahead = planned_steps(flag, steps, index, enable=enables, viewer=viewer)
        ahead = replace(ahead, version=version, plan_version=plan.version)
        rows = [
            *([PreviewRow(_("flag"), _off(), _on())] if enables else []),
            _plan_row(plan, State.RUNNING.label),
            PreviewRow(_("rollout"), f"{flag.rollout_percent} %", localized(steps[index].text)),
            *starmap(PreviewRow, ahead.rows),
        ]
        # It refuses the action now, but the action can wait.
        why = [_sentence(problem)] if (problem := problem_of_driver()) else []
        # Why the plan was paused or rolled back.
        why += [state_sentence(plan, flag)] if plan.reason or plan.trip_reason else []
        notes = [*why, *ahead.notes, *_notes(plan, flag, index)]
        return Preview(
            # Only a start turns the flag on.
            {"enable": True} if enables else {},
            rows=rows,
            notes=notes,
            impact=ahead.next,
            typed=ahead.text_to_type,
            outlook=ahead.outlook,
        )


class PlanAdmin(AppRowAdmin):
    """Rollout plans. The rights for their flags decide."""

    app_kind = PLAN
    request_class = PlanRequest
    docs_page = "how-to/rollout-plans/"
    list_display: _ListDisplayT[Plan] = ("flag", "shown_state")
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "reason")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """The plans without those of hidden flags."""
        hidden = hidden_rows(self.admin_site, request, conf.flag_model)
        return super().get_queryset(request).exclude(flag_pk__in=[*hidden]).defer("salt")

    # Rights.

    def has_view_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """Whether the user may see plans, or the flag of this one."""
        return may(self.admin_site, request, "view", _flag_or_model(obj))

    has_module_permission = has_view_permission

    def has_toggle_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """Whether the user may use plans, or that of this flag."""
        return may(self.admin_site, request, "toggle", _flag_or_model(obj))

    has_add_permission = has_change_permission = has_delete_permission = has_toggle_permission

    def may_do(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Whether the user may do an action. It changes the newest plan of a flag only."""
        is_newest = isinstance(row, type) or _is_newest(row)
        return is_newest and super().may_do(request, action, row)

    # The list.

    def get_ordering(self, request: HttpRequest) -> Any:
        """The plans that need attention first."""
        red = (Plan.objects.needing_attention(), Plan.objects.unguarded())
        is_red = [Q(pk__in=plans.order_by().values("pk")) for plans in red]
        first = Case(When(is_red[0] | is_red[1], then=0), default=1)
        return [first, *self.ordering]

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, plan: Plan) -> SafeString:
        """The key of the flag."""
        return key_link(plan.key)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, plan: Plan) -> SafeString:
        """The state, and why it is so."""
        return two_lines(badge(*state_name(plan)), state_sentence(plan))

    # The page.

    def events(self, row: Any) -> QuerySet[PlanEvent]:
        """What has happened to the plan."""
        return db.rows(PlanEvent).filter(plan=row)

    def head(self, request: HttpRequest, row: Any) -> Head:
        """The sentence of the state, what follows from the numbers, and what to look at."""
        flag, (state, label) = row.flag, state_name(row)
        lines: list[SafeString | str] = []
        lines.append(format_html("<strong>{}</strong>", state_sentence(row, flag)))
        if row.run_id and (why := _evidence(row).get("why")):
            lines.append(_sentence(why))
        if flag is not None and may_view(self.admin_site, request, conf.flag_model):
            url = page_url(self.admin_site, conf.flag_model, "change", flag.pk)
            text = _("Flag %(key)s") % {"key": row.key}
            lines.append(format_html('<a href="{}">{}</a>', url, text))
        possible = [name for name, states in plans.STATES.items() if row.state in states]
        return Head(
            state=(colour_of(state), label),
            lines=lines,
            main=possible[0] if possible else "",
            others=possible[1:],
            alarms=[*_alarms(row, flag)],
            notes=_notes(row, flag, row.step or 0),
        )

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """The steps and the guards."""
        yield from sections_of(row, _evidence(row))

    def is_offered(self, action: Action, row: Any) -> bool:
        """What can be done now with the newest plan of a flag."""
        flag, name = row.flag, action.name
        is_possible = row.state in plans.STATES.get(name, ())
        if row.own_flag is None:
            return name == "delete" and _is_newest(row)
        if name == "delete":
            is_possible = row.state not in WATCHED_STATES
        # Only a start turns the flag on.
        is_ready = flag is not None and (flag.enabled or row.step is None) and not row.problem
        return is_possible and _is_newest(row) and (name not in _GIVING or is_ready)

    def version(self, row: Any) -> str:
        """A text that differs whenever the plan or its flag has changed."""
        plan = Plan.objects.filter(pk=row.pk).first()
        return f"{plan.version if plan else ''}-{version_of(Kind.FLAG, row.flag_pk)}"


def _flag_or_model(plan: Plan | None) -> Any:
    """Returns the flag of a plan, or the model of flags without a plan, or without its flag."""
    flag = None if plan is None else plan.own_flag
    return conf.flag_model if flag is None else flag


def _is_newest(plan: Any) -> bool:
    """Whether the plan is the one that is changed by its key. Makes up to two queries."""
    if not hasattr(plan, "is_newest"):
        newest = plans.find_plan(plan.key)
        plan.is_newest = newest is not None and newest.pk == plan.pk
    return bool(plan.is_newest)


def _evidence(plan: Any) -> Mapping[str, Any]:
    """Returns the evidence of a plan, read once for its page."""
    if not hasattr(plan, "evidence"):
        plan.evidence = evidence_of(plan) or {}
    evidence: Mapping[str, Any] = plan.evidence
    return evidence


def _on() -> str:
    return pgettext("state of a flag", "on")


def _off() -> str:
    return pgettext("state of a flag", "off")


def _plan_row(plan: Plan, after: object) -> PreviewRow:
    return PreviewRow(_("plan"), str(State(plan.state).label), str(after))


def _sentence(text: str) -> str:
    return _("%(sentence)s.") % {"sentence": capfirst(localized(text))}


def _alarms(plan: Plan, flag: FlagRow | None) -> Iterator[SafeString | str]:
    """Yields what is wrong. Makes a query for a plan that has not started."""
    command = format_html("<code>{}</code>", quoted_command("run-jobs", "--loop").strip('"'))
    if plan.is_unguarded:
        text = _(
            "Unguarded: run-jobs does not watch this plan, so no guard can stop the rollout. Start "
            "{command}, or pause the plan."
        )
        yield format_html(text, command=command)
    elif plan.state in {State.PENDING, State.PAUSED} and not DriverRun.is_recent():
        text = _("The plan cannot start, because run-jobs does not run. Start {command}.")
        yield format_html(text, command=command)
    if flag is None and plan.own_flag is not None:
        yield _("The flag was renamed to %(key)s.") % {"key": plan.own_flag.key}
    elif flag is None:
        yield _("The flag no longer exists. Delete this plan.")
    elif not flag.enabled and plan.step is not None and plan.state != State.DONE:
        yield _(
            "The flag is off. To go on, set its rollout to 0 %, turn it on, and open this page "
            "again."
        )


def _notes(plan: Plan, flag: FlagRow | None, index: int) -> list[str]:
    """Returns what a person should know of the steps from this index on."""
    if flag is None or plan.state not in ACTIVE_STATES or plan.problem:
        return []
    notes = [*map(_sentence, notes_of(plan, flag, index, has_traffic=plan.step is None))]
    if not flag.enabled and plan.step is None:
        notes.append(_("The flag is off. The start of the plan turns it on."))
    return notes
