"""The admin of rollout plans: a list, a page for each plan, and the pages of its actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Q, QuerySet, When
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from flagstaff._tables.rows import FlagRow, all_rows, flag_row, unknown_row
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import localized
from flagstaff._words.times import duration, local_time_text
from flagstaff.actions import Action
from flagstaff.admin.app_rows import AppRowAdmin
from flagstaff.admin.cells import two_lines
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.question import Preview
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.admin.row_page import Head, Section
from flagstaff.admin.words import colour_of
from flagstaff.changes.changed import quoted_command
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.rollouts import plans
from flagstaff.rollouts.actions import PLAN
from flagstaff.rollouts.admin.sections import Measured, guard_label, guard_text, sections_of
from flagstaff.rollouts.admin.texts import (
    NONE,
    attention_text,
    difference_text,
    state_badge,
    state_name,
    state_sentence,
    step_text,
)
from flagstaff.rollouts.conditions import present_rollout, problem_of_first_step, rules_can_grant
from flagstaff.rollouts.guards import Guard, guards_as_json, valid_guards
from flagstaff.rollouts.models import (
    ACTIVE_STATES,
    WATCHED_STATES,
    DriverRun,
    Plan,
    PlanEvent,
    State,
)
from flagstaff.rollouts.releasing import planned_steps
from flagstaff.rollouts.steps import steps_as_json, valid_steps
from flagstaff.rollouts.traffic import notes_of, proposed_plan

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

# These give the flag to more users, and need a plan that can be read.
_GIVING = ("start", "resume")


class PlanAdmin(AppRowAdmin):
    """Rollout plans. The rights for their flags decide."""

    app_kind = PLAN
    docs_page = "how-to/rollout-plans/"
    list_display: _ListDisplayT[Plan] = (
        *("flag", "shown_state", "shown_step", "due", "shown_guards", "started_by"),
    )
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "reason")
    ordering = ("-id",)

    class Media:
        css = {"all": ("flagstaff/rollouts.css",)}

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

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with the flags and the names of the actors: one query each."""
        found = super().get_changelist_instance(request)
        rows: list[Any] = [*found.result_list]
        flags = all_rows(conf.flag_model).filter(key__in=[plan.key for plan in rows])
        by_pk = {(str(flag.pk), flag.key): flag for flag in flags}
        names = actor_table().names({plan.actor for plan in rows if plan.actor})
        for plan in rows:
            plan.flag = by_pk.get((plan.flag_pk, plan.key))
            plan.by_name = names.get(plan.actor, plan.actor)
        found.result_list = rows
        return found

    def get_ordering(self, request: HttpRequest) -> Any:
        """The plans that need attention first."""
        red = (Plan.objects.needing_attention(), Plan.objects.unguarded())
        is_red = [Q(pk__in=plans.order_by().values("pk")) for plans in red]
        first = Case(When(is_red[0] | is_red[1], then=0), default=1)
        return [first, *self.ordering]

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, plan: Plan) -> SafeString:
        """The key of the flag."""
        return format_html('<span class="flagstaff-key">{}</span>', plan.key)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, plan: Any) -> SafeString:
        """The state, and why it is so."""
        label, text = state_badge(plan), attention_text(plan, plan.flag)
        reason = text if plan.trip_reason else plan.reason or text
        return two_lines(label, reason or difference_text(plan, plan.flag))

    @admin.display(description=gettext_lazy("step"))
    def shown_step(self, plan: Plan) -> str:
        """The percentage and the number of the present step."""
        try:
            return step_text(plan)
        except InvalidPlanError:
            return _("not valid")

    @admin.display(description=gettext_lazy("due"), ordering="due_at")
    def due(self, plan: Plan) -> str:
        """When the dwell time of the present step ends."""
        at = plan.due_at
        if at is None or at < plan.now:
            return "" if at is None else _("now")
        text = _("in %(time)s") % {"time": timeuntil(at, plan.now, depth=1)}
        return format_html('<time title="{}">{}</time>', local_time_text(at), text)

    @admin.display(description=gettext_lazy("guards"))
    def shown_guards(self, plan: Plan) -> str:
        """The guards in words."""
        try:
            guards = plan.read_guards()
        except InvalidPlanError:
            return _("not valid")
        return ", ".join(map(guard_label, guards)) or _("none")

    @admin.display(description=gettext_lazy("by"))
    def started_by(self, plan: Any) -> str:
        """Who created the plan."""
        return str(plan.by_name)

    # The page.

    def events(self, row: Any) -> QuerySet[PlanEvent]:
        """What has happened to the plan."""
        return PlanEvent.objects.using(conf.database).filter(plan=row)

    def head(self, request: HttpRequest, row: Any) -> Head:
        """The sentence of the state, what follows from the numbers, and what to look at."""
        flag, problem = row.flag, row.problem
        lines: list[SafeString | str] = []
        if not problem:
            lines.append(format_html("<strong>{}</strong>", state_sentence(row)))
            lines += _measured(row).lines()
        if flag is not None and may_view(self.admin_site, request, conf.flag_model):
            url = page_url(self.admin_site, conf.flag_model, "change", flag.pk)
            text = _("Flag %(key)s") % {"key": row.key}
            lines.append(format_html('<a href="{}">{}</a>', url, text))
        differs = difference_text(row, flag)
        alarms = [*([capfirst(f"{localized(problem)}.")] if problem else []), *_alarms(row, flag)]
        possible = [name for name, states in plans.STATES.items() if row.state in states]
        return Head(
            state=(
                colour_of("unguarded" if row.is_unguarded else row.state),
                _("unguarded") if row.is_unguarded else state_name(row),
            ),
            lines=lines,
            main=possible[0] if possible else "",
            others=possible[1:],
            alarms=[*alarms, *([f"{capfirst(differs)}."] if differs else [])],
            notes=[] if problem else _notes(row, flag, row.step or 0),
        )

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """The steps and the guards."""
        if not row.problem:
            yield from sections_of(row, _measured(row))

    def is_offered(self, action: Action, row: Any) -> bool:
        """What can be done now with the newest plan of a flag."""
        flag, name = row.flag, action.name
        is_possible = row.state in plans.STATES.get(name, ())
        if name == "delete":
            is_possible = row.state not in WATCHED_STATES
        if not (is_possible and _is_newest(row)):
            return False
        # Only a start turns the flag on.
        is_ready = flag is not None and (flag.enabled or row.step is None)
        return name not in _GIVING or (is_ready and not row.problem)

    # The pages of the actions.

    def version(self, row: Any) -> str:
        """A text that differs whenever the plan or its flag has changed."""
        plan = Plan.objects.filter(pk=row.pk).first()
        return f"{plan.version if plan else ''}-{version_of(Kind.FLAG, row.flag_pk)}"

    def asks_for(self, action: Action, name: str) -> bool:
        """What has been planned does not change: only a new plan has arguments."""
        return action.creates

    def initial(self, request: HttpRequest, action: Action, row: Any) -> Mapping[str, Any]:
        """The last plan of the flag; without one, a plan that the users of the site can pass."""
        if not action.creates or row is not None:
            return {}
        key = request.GET.get("key", "")
        found = all_rows(conf.flag_model).filter(key=key).first() if key else None
        flag: Any = found if found and may(self.admin_site, request, "view", found) else None
        last = self.get_queryset(request).filter(key=key).order_by("-id").first() if flag else None
        if last is None or last.problem:
            steps, users = proposed_plan(flag, plans.REQUIRED_USERS)
            guards: Sequence[Guard] = [Guard("errors")]
        else:
            users, guards, above = last.required_users, last.read_guards(), present_rollout(flag)
            steps = [step for step in last.read_steps() if step.percent > above]
        return {
            "steps": "\n".join(map(str, steps)),
            "guards": "\n".join(map(str, guards)),
            "required_users": str(users),
            "ignore_releases": last is not None and last.ignore_releases,
        }

    def prepare_form(self, form: forms.Form, action: Action, row: Any) -> None:
        """Says what is written in the fields of a new plan."""
        if not form.fields:
            return
        form.fields["key"].label = _("Flag")
        form.fields["required_users"].label = _("Required users")
        form.fields["ignore_releases"].label = _("Ignore releases")
        for name, text in _HELP.items():
            form.fields[name].help_text = text

    def preview(
        self, request: HttpRequest, action: Action, row: Any, arguments: Mapping[str, Any]
    ) -> Preview:
        """What an action does to the plan, to its flag and to the users."""
        if row is None:
            return self._new_plan(request, arguments)
        flag = row.flag
        now = NONE if flag is None else f"{flag.rollout_percent} %"
        if action.name in _GIVING and flag is not None:
            return self._next_step(request, action, row, flag)
        notes, after = list[str](), now
        if action.name == "pause":
            state = str(State.PAUSED.label)
        elif action.name == "roll-back":
            state, after = str(State.ROLLED_BACK.label), "0 %"
        elif row.state in WATCHED_STATES:
            raise plans.still_runs(row)
        else:
            state = _("deleted")
            notes.append(
                _("The flag stays as it is. The events and the figures of the plan are deleted.")
            )
        rows = [_plan_row(row, state), PreviewRow(_("rollout"), now, after)]
        if after != now and flag is not None and flag.enabled and rules_can_grant(flag):
            rows.append(PreviewRow(_("flag"), _on(), _off()))
        return Preview(rows=rows, notes=notes)

    def _new_plan(self, request: HttpRequest, arguments: Mapping[str, Any]) -> Preview:
        """The steps and the guards as a table. Nothing is given to users before the start."""
        flag: Any = flag_row(arguments["key"])
        if not may(self.admin_site, request, "view", flag):
            raise unknown_row(conf.flag_model, arguments["key"])
        if not may(self.admin_site, request, "toggle", flag):
            raise PermissionDenied
        steps, guards = valid_steps(arguments["steps"]), valid_guards(arguments["guards"])
        if problem := problem_of_first_step(flag, steps[0]):
            raise InvalidPlanError(problem)
        before = plans.find_plan(flag.key)
        if before is not None and before.state in ACTIVE_STATES:
            raise plans.exists_already(before)
        rows, percent = [], present_rollout(flag)
        for number, step in enumerate(steps, 1):
            label = _("Step %(number)s") % {"number": number}
            rows.append(PreviewRow(label, f"{percent} %", localized(step.text)))
            percent = step.percent
        rows += [PreviewRow(_("Guard"), "", guard_text(guard)) for guard in guards]
        plan = Plan(steps=steps_as_json(steps), guards=guards_as_json(guards))
        plan.ignore_releases = bool(arguments.get("ignore_releases"))
        plan.required_users = arguments.get("required_users", plans.REQUIRED_USERS)
        return Preview(rows=rows, notes=_notes(plan, flag, 0))

    def _next_step(
        self, request: HttpRequest, action: Action, plan: Plan, flag: FlagRow
    ) -> Preview:
        """The step to which a start or a resume leads, with its users and those of the last."""
        is_new = action.name == "start"
        index = plan.step if plan.step is not None and plan.state == State.PAUSED else 0
        steps = plan.read_steps()
        enables = is_new and not flag.enabled
        given = {
            # Only a start turns the flag on.
            **({"enable": enables} if is_new else {}),
            "expect_version": version_of(Kind.FLAG, flag.pk),
            "expect_plan": plan.version,
        }
        ahead = planned_steps(flag, steps, index, enable=is_new, viewer=request.user)
        step, place = steps[index], _("%(step)s of %(steps)s")
        now = NONE if plan.step is None else place % {"step": plan.step + 1, "steps": len(steps)}
        values = {
            "place": place % {"step": index + 1, "steps": len(steps)},
            "time": localized(duration(step.seconds)),
        }
        rows = [
            *([PreviewRow(_("flag"), _off(), _on())] if enables else []),
            _plan_row(plan, State.RUNNING.label),
            PreviewRow(_("rollout"), f"{flag.rollout_percent} %", f"{step.percent} %"),
            PreviewRow(_("step"), now, _("%(place)s, for %(time)s or longer") % values),
            *starmap(PreviewRow, ahead.rows),
        ]
        notes = [*ahead.notes, *_notes(plan, flag, index)]
        return Preview(rows=rows, notes=notes, typed=ahead.text_to_type, given=given)


_HELP = {
    "steps": gettext_lazy(
        "One on each line: the percentage, and how long it stays at least, such as 5:1h. Each is "
        "higher than the one before."
    ),
    "guards": gettext_lazy(
        "One on each line: errors, latency=0.5 (in seconds) or function=shop.guards.orders. After "
        "commas: limit=2 and tolerated=1 (both: times as often as without the flag) or action=hold."
    ),
    "required_users": gettext_lazy(
        "If the guards cannot decide, a step passes after this many users with the flag."
    ),
    "ignore_releases": gettext_lazy(
        "Whether a step goes on when a new build is deployed. Otherwise it starts again."
    ),
}


def _flag_or_model(plan: Plan | None) -> Any:
    """Returns the flag of a plan, or the model of flags without a plan, or without its flag."""
    flag = None if plan is None else plan.flag
    return conf.flag_model if flag is None else flag


def _is_newest(plan: Any) -> bool:
    """Whether the plan is the one that is changed by its key. Makes up to two queries."""
    if not hasattr(plan, "is_newest"):
        newest = plans.find_plan(plan.key)
        plan.is_newest = newest is not None and newest.pk == plan.pk
    return bool(plan.is_newest)


def _measured(plan: Any) -> Measured:
    if not hasattr(plan, "measured"):
        plan.measured = Measured(plan)
    found: Measured = plan.measured
    return found


def _on() -> str:
    return pgettext("state of a flag", "on")


def _off() -> str:
    return pgettext("state of a flag", "off")


def _plan_row(plan: Plan, after: object) -> PreviewRow:
    return PreviewRow(_("plan"), state_name(plan), str(after))


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
    if plan.state == State.DONE:
        return
    if flag is None:
        if plan.state != State.ROLLED_BACK:
            yield _("The flag no longer exists. Delete this plan.")
    elif flag.enabled or plan.step is None:
        return
    elif plan.state in {State.PAUSED, State.ROLLED_BACK}:
        yield _(
            "The flag is off. To go on, set its rollout to 0 %, turn it on, and open this page "
            "again."
        )
    else:
        yield _("The flag is off, so the rollout has no effect.")


def _notes(plan: Plan, flag: FlagRow | None, index: int) -> list[str]:
    """Returns what a person should know of the steps from this index on."""
    if flag is None or plan.state not in ACTIVE_STATES:
        return []
    found = notes_of(plan, flag, index, has_traffic=plan.step is None)
    notes = [f"{capfirst(localized(note))}." for note in found]
    if not flag.enabled and plan.step is None:
        notes.append(_("The flag is off. The start of the plan turns it on."))
    return notes
