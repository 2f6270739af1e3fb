"""The pages of rollout plans, and what the pages of flags say of their plans."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow, Kind, all_rows, find_row, flag_row, unknown_row
from flagstaff._text import as_stored, local_number, localized, say
from flagstaff._text.rules import sentence
from flagstaff._text.times import duration
from flagstaff.actions import Action
from flagstaff.actions.table import Line, Right
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.admin.links import overview_line, page_url
from flagstaff.admin.looks import summary_of
from flagstaff.admin.parts import AppPages, Head, Level, Note, OnFlag, OverviewLine, Section
from flagstaff.admin.rights import denied, hidden_rows, may, may_view, once
from flagstaff.admin.row_page import ActionLink, AppRowAdmin
from flagstaff.admin.words import Column, Table, badge, colour_of, key_link, two_lines
from flagstaff.changes.fields import quoted_command
from flagstaff.conf import conf
from flagstaff.history.deleted import deleted_rows
from flagstaff.history.log import version_of
from flagstaff.rollouts import plans
from flagstaff.rollouts.actions import PLAN
from flagstaff.rollouts.admin.fields import prepare_fields
from flagstaff.rollouts.models import (
    ACTIVE_STATES,
    WATCHED_STATES,
    DriverRun,
    Plan,
    PlanEvent,
    State,
)
from flagstaff.rollouts.requirements import own_bucket_rules, present_rollout
from flagstaff.rollouts.status import (
    NONE,
    evidence_of,
    guard_options,
    notes_of,
    rollout_difference,
    state_name,
    state_sentence,
)
from flagstaff.rollouts.steps_and_guards import (
    ALL,
    ERRORS,
    FUNCTION,
    USUAL,
    Guard,
    Step,
    guard_name,
    numbered,
    parse_guards,
)
from flagstaff.rollouts.transitions import in_state, with_flags
from flagstaff.rollouts.verdict import USERS, times

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple


def _notes_of_flags(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Note]:
    """Returns the state of active plans, and of those that need attention."""
    return {
        pk: Note(_note(plan), _level(plan))
        for pk, plan in _plans_of(request, flags).items()
        if plan.needs_attention or plan.state in ACTIVE_STATES
    }


def _note(plan: Plan) -> str:
    """Returns the state, and why it is so if somebody should look at the plan."""
    text = state_name(plan)[1]
    if plan.trip_reason:
        return say("{reason} (plan: {state})", reason=plan.trip_reason, state=text).local
    if plan.needs_attention or rollout_difference(plan):
        values = {"state": text, "reason": state_sentence(plan)}
        text = say("{state} — {reason}", **values).local
    return say("plan: {state}", state=text).local


def _preview(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Line]:
    """Returns what another change of flags does to their plans: one that runs is paused.

    Of a plan that has tripped, returns why.
    """
    rows = {}
    for pk, plan in _plans_of(request, flags).items():
        now = str(State(plan.state).label)
        if plan.state in WATCHED_STATES:
            rows[pk] = Line(say("plan").local, now, str(State.PAUSED.label))
        elif plan.trip_reason:
            text = say("{state} — {reason}", state=now, reason=plan.trip_reason).local
            rows[pk] = Line(say("plan").local, text, text)
    return rows


def _on_flag(site: AdminSite, request: HttpRequest, flag: Any) -> OnFlag:
    """Returns the state of the plan of a flag, and the link that plans a rollout."""
    plan = _plans_of(request, [flag]).get(str(flag.pk))
    links = (
        _add_links(site, request, flag) if plan is None or plan.state not in ACTIVE_STATES else []
    )
    if plan is None:
        return OnFlag(links=links)
    hint = ""
    if plan.state in WATCHED_STATES:
        hint = say("Another change of this flag pauses the plan.").local
    sentence = state_sentence(plan)
    label = capfirst(Plan._meta.verbose_name)
    state = badge(*state_name(plan))
    text = format_html("<strong>{}</strong> {} {} {}", label, state, sentence, hint)
    may_open = may_view(site, request, Plan)
    link = (page_url(site, Plan, "change", plan.pk), say("Open the plan").local) if may_open else ()
    return OnFlag(Note(text, _level(plan), link), links)


def _plans_of(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Plan]:
    """Returns the active plan of each flag, or else its last one. Few queries for a request."""
    return once(request, "plans of flags", partial(_read, flags))


def _read(flags: Sequence[Any]) -> Mapping[str, Plan]:
    pks = {str(flag.pk) for flag in flags}
    plans = Plan.objects.defer("salt")
    is_active = Case(When(state__in=ACTIVE_STATES, then=Value(0)), default=Value(1))
    if len(flags) == 1:
        newest = plans.filter(flag_pk__in=pks).order_by(is_active, "-id")[:1]
    else:
        # A list shows no plan that has ended well. The others are few: fewer than its flags.
        newest = plans.filter(_is_shown()).order_by(is_active, "-id")
    # The first one of each flag counts.
    first = {plan.flag_pk: plan for plan in reversed([*newest]) if plan.flag_pk in pks}
    return {plan.flag_pk: plan for plan in with_flags(first.values())}


def _is_shown() -> Q:
    """Selects the active plans, and those that ended and need attention."""
    ended = Plan.objects.needing_attention().order_by()
    return Q(state__in=ACTIVE_STATES) | Q(pk__in=ended.values("pk"))


def _add_links(site: AdminSite, request: HttpRequest, flag: Any) -> list[tuple[str, str]]:
    if not (may_view(site, request, Plan) and may(site, request, "toggle", flag)):
        return []
    return [
        (
            f"{page_url(site, Plan, 'add')}?{urlencode({'key': flag.key})}",
            say("Plan a rollout…").local,
        )
    ]


# The overview and the search.


def _overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key."""
    shown = site.get_model_admin(Plan).get_queryset(request).filter(_is_shown())
    return [
        overview_line(site, plan, state_sentence(plan), _level(plan), badge(*state_name(plan)))
        for plan in with_flags(shown.exclude(state=State.PENDING).order_by("key", "pk"))
    ]


def _level(plan: Plan) -> Level:
    if plan.is_unguarded or plan.trip_reason:
        return Level.PROBLEM
    is_over = plan.state == State.ROLLED_BACK
    return Level.NOTICE if plan.needs_attention or is_over else Level.RUNNING


def _describe(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    return [(badge(*state_name(plan)), state_sentence(plan)) for plan in with_flags(plans)]


def _deleted_rows(site: AdminSite, request: HttpRequest) -> QuerySet[Plan]:
    """Returns the deleted plans without those of hidden flags."""
    hidden = hidden_rows(site, request, conf.flag_model)
    return deleted_rows(Plan).exclude(flag_pk__in=[*hidden])


PAGES = AppPages(
    Plan,
    PlanEvent,
    "plan",
    _describe,
    _overview_lines,
    _deleted_rows,
    flag_notes=_notes_of_flags,
    flag_preview=_preview,
    on_flag=_on_flag,
)


def sections_of(plan: Plan, evidence: Mapping[str, Any]) -> Iterator[Section]:
    """Yields the tables of the steps and of the guards; none if they cannot be read.

    `evidence` is empty before the start.
    """
    if plan.problem:
        return
    steps = render_to_string("flagstaff/plan_steps.html", {"steps": [*_steps(plan)]})
    yield Section(say("Steps").local, steps)
    title = say("Guards").local
    yield Section(title, _guards(plan, evidence).html(title))


def _steps(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yields what is drawn of each step: its percentage, where the plan is, and its time."""
    last = -1 if plan.step is None else plan.step
    for index, step in enumerate(plan.read_steps()):
        is_present = index == last and plan.state != State.DONE
        state, passed = "", 0.0
        if is_present:
            state, passed = state_name(plan)[1], _passed(plan, step)
        elif index <= last:
            state, passed = say("passed").local, 1.0
        yield {
            "percent": step.percent,
            "state": state,
            "is_present": is_present,
            "passed": round(passed * ALL),
            "time": localized(duration(step.seconds)) if step.seconds else say("to the end").local,
        }


def _passed(plan: Plan, step: Step) -> float:
    """Returns the share of the time of the present step that is over; none of one that waits."""
    if plan.due_at is None or not step.seconds:
        return 0.0
    left = (plan.due_at - plan.now).total_seconds() / step.seconds
    return min(max(1 - left, 0.0), 1.0)


def _guards(plan: Plan, evidence: Mapping[str, Any]) -> Table:
    """Returns the table: what fails with the flag and without it, and what follows."""
    guards = plan.read_guards()
    numbers = {guard: number for number, guard in numbered(guards)}
    results = {result["number"]: result for result in evidence.get("guards", ())}
    summary = say("When does a step pass?").local
    how = say(
        "A step passes when its time is over, and one of two things is true: users with the flag "
        "fail less often than the limit allows, or {users} of them were seen and nothing looks "
        "like harm. Users count as failed once, however often they fail. The share of requests "
        "that fail is compared, too, without what users request after their first failure. While "
        "at most half of the users have the flag, every plan is also rolled back if several of "
        "them fail before any user without it.",
        users=plan.required_users,
    ).local
    if plan.compare:
        users, requests = (
            say("This plan compares users only.").local,
            say("This plan compares requests only.").local,
        )
        how = f"{how} {users if plan.compare == USERS else requests}"
    note = format_html("<details><summary>{}</summary>{}</details>", summary, how)
    return Table(
        [
            Column(say("Guard").local),
            Column(say("Failed with the flag").local, is_number=True),
            Column(say("Without it").local, is_number=True),
            Column(say("Times as often").local, is_number=True),
            Column(say("Result").local),
        ],
        [
            _guard(guard, results.get(numbers.get(guard, -1)), evidence, plan.trip_reason)
            for guard in guards
        ],
        empty=say(
            "No guard. The plan is only rolled back if several users with the flag fail before any "
            "user without it."
        ).local,
        note=note,
        is_stacked=True,
    )


def _guard(
    guard: Guard, result: Mapping[str, Any] | None, evidence: Mapping[str, Any], trip_reason: str
) -> list[str]:
    """Returns the cells of a guard."""
    name = two_lines(localized(guard_name(guard)), guard_options(guard))
    tripped = badge("harm", say("tripped").local)
    # A trip begins with the name of its guard, also one by the brake.
    match = re.match(rf"{re.escape(as_stored(guard_name(guard)))}(?![\w.])", trip_reason)
    if guard.kind == FUNCTION:
        fine = say("fine while the function returns True").local
        return [name, NONE, NONE, NONE, tripped if match else fine]
    if result is None:
        return [name, NONE, NONE, NONE, NONE]
    failed, upper = result["failed"], result["upper"]
    often = NONE
    verdict = badge("undecided", say("no failures yet").local)
    if failed["inside"] or failed["outside"]:
        # JSON has no infinity: without a failure on the other side, there is no ratio.
        bound = "" if upper is None else say("at most {ratio}", ratio=_rounded(upper)).local
        ratios = [_ratio(each) for each in result["comparisons"] if each["ratio"] is not None]
        often = two_lines(" · ".join(ratios) or NONE, bound)
        verdict = badge("undecided", say("not decided").local)
    if result["tripped"] or match:
        verdict = tripped
    elif result["passed"]:
        verdict = badge("passes", say("passes").local)
    inside, outside = evidence["users_inside"], evidence["users_outside"]
    return [
        name,
        _side(failed["inside"], inside, _requests(result, 1)),
        _side(failed["outside"], outside, _requests(result, 0)),
        often,
        verdict,
    ]


def _ratio(comparison: Mapping[str, Any]) -> str:
    """Returns how many times as often users with the flag fail, by users or by requests."""
    text = _rounded(comparison["ratio"])
    return text if comparison["by"] == USERS else say("{ratio} by requests", ratio=text).local


def _side(failed: int, users: int, requests: str) -> str:
    """Returns the share of failing users, and the numbers; a dash without users."""
    if not users:
        return NONE
    values = {"failed": local_number(failed), "users": local_number(users)}
    numbers = " · ".join(filter(None, [say("{failed} of {users} users", **values).local, requests]))
    return two_lines(f"{_rounded(min(ALL * failed / users, ALL))} %", numbers)


def _requests(result: Mapping[str, Any], side: int) -> str:
    """Returns how many requests at risk have failed on a side; empty without any."""
    failed, at_risk = result["failed_at_risk"][side], result["at_risk"][side]
    values = {"failed": local_number(failed), "requests": local_number(at_risk)}
    return say("{failed} of {requests} requests", **values).local if at_risk else ""


def _rounded(number: float) -> str:
    """Returns a number with two significant digits. Django would cut off digits, not round."""
    return number_format(Decimal(str(times(number))), use_l10n=True, force_grouping=True)


# These give the flag to more users.
_GIVING = ("start", "resume")


class _StateFilter(admin.SimpleListFilter):
    """The plans in a state, as the list shows it."""

    title, parameter_name = cast("str", say("state").lazy), "state"

    def lookups(self, _request: HttpRequest, _admin: Any) -> Any:
        return State.choices

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Plan]) -> QuerySet[Plan]:
        state = self.value()
        return in_state(queryset, state) if state else queryset


class PlanAdmin(AppRowAdmin):
    """Rollout plans. The rights for their flags decide."""

    app_kind = PLAN
    docs_page = "how-to/rollout-plans/"
    list_display: _ListDisplayT[Plan] = ("flag", "shown_state")
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (_StateFilter,)
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

    def needed_to_view(self, row: Any) -> Any:
        """The flag."""
        return _flag_or_model(None if isinstance(row, type) else row)

    def needed_right(self, request: HttpRequest, action: Action, row: Any) -> tuple[Right, Any]:
        """The right to toggle the flag."""
        return "toggle", self.needed_to_view(row)

    # The list.

    def get_ordering(self, request: HttpRequest) -> Any:
        """The plans that need attention first."""
        red = (Plan.objects.needing_attention(), Plan.objects.unguarded())
        is_red = [Q(pk__in=plans.order_by().values("pk")) for plans in red]
        first = Case(When(is_red[0] | is_red[1], then=0), default=1)
        return [first, *self.ordering]

    def as_shown(self, request: HttpRequest, rows: Iterable[Plan]) -> Sequence[Plan]:
        """The plans with their flags."""
        return with_flags(rows)

    @admin.display(description=say("flag").lazy, ordering="key")
    def flag(self, plan: Plan) -> SafeString:
        """The key of the flag."""
        return key_link(plan.key)

    @admin.display(description=say("state").lazy, ordering="state")
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
        lines.append(format_html("<strong>{}</strong>", state_sentence(row)))
        why = _evidence(row).get("why", "")
        # A plan that holds has it as its reason.
        if row.run_id and why and why not in row.reason:
            lines.append(sentence(why))
        if flag is not None and may_view(self.admin_site, request, conf.flag_model):
            url = page_url(self.admin_site, conf.flag_model, "change", flag.pk)
            text = say("Flag {key}", key=row.key).local
            html = '<span class="flagstaff-links"><a href="{}">{}</a></span>'
            lines.append(format_html(html, url, text))
        return Head(
            state=(colour_of(state), label),
            lines=lines,
            main=next((name for name, states in plans.STATES.items() if row.state in states), ""),
            beside=("start", "resume", "pause", "roll-back"),
            others=["delete"],
            notes=[
                *(Note(text, Level.PROBLEM) for text in _alarms(row, flag)),
                *(Note(text, Level.NOTICE) for text in _notes(row, flag)),
            ],
        )

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """The steps and the guards."""
        yield from sections_of(row, _evidence(row))

    def subject(self, row: Any) -> str:
        """The plan, not the flag of this key."""
        return say("the rollout plan of {key}", key=row.key).local

    def link_to(self, request: HttpRequest, name: str, row: Any) -> ActionLink:
        """The link to an action; that of a roll back says how much it takes away."""
        link = super().link_to(request, name, row)
        if name != "roll-back" or row.own_flag is None:
            return link
        label = say("Roll back {percent} → 0 %", percent=row.own_flag.rollout_percent)
        return replace(link, action=replace(link.action, label=label.lazy))

    def deleted_text(self, key: str) -> str:
        """The flag of this key stays."""
        return say("The rollout plan of “{key}” was deleted.", key=key).local

    def is_offered(self, request: HttpRequest, action: Action, row: Any) -> bool:
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

    # The pages of the actions.

    def prepare_form(
        self, form: ArgumentForm, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """Names the fields of a new plan. What has been planned does not change."""
        if not action.creates:
            offered = form.fields.pop("delete_bucket_rules", None)
            form.fields.clear()
            if action.name != "start" or row.flag is None:
                return
            # Only a start turns the flag on.
            if not row.flag.enabled:
                form.given = {"enable": True}
            may_change = may(self.admin_site, request, "change", row.flag)
            if offered is not None and may_change and own_bucket_rules(row.flag):
                offered.label = say("Delete the rules by the bucket of the flag").local
                form.fields["delete_bucket_rules"] = offered
            return
        prepare_fields(form)

    def initial_arguments(self, request: HttpRequest, action: Action, row: Any) -> dict[str, Any]:
        """The last plan of the flag, or the default plan."""
        if not action.creates:
            return {}
        key = request.GET.get("key", "")
        flag: Any = all_rows(conf.flag_model).filter(key=key).first() if key else None
        if flag is not None and not may(self.admin_site, request, "view", flag):
            flag = None
        above = present_rollout(flag) if flag else 0
        defaults = plans.default_plan(flag) if flag and above < ALL else USUAL
        # In full, as the rows send them back.
        steps, guards, compare = defaults.steps, [*map(str, parse_guards([ERRORS]))], ""
        required, ignores = defaults.required_users, False
        last = None
        if flag is not None:
            last = self.get_queryset(request).filter(key=key).order_by("-id").first()
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

    def require_rights_for_new(self, request: HttpRequest, key: str) -> None:
        """The rights for the flag decide. What is wrong with a plan says how far a flag is."""
        flag = flag_row(key)
        if not may(self.admin_site, request, "view", flag):
            raise unknown_row(conf.flag_model, key)
        if not may(self.admin_site, request, "toggle", flag):
            raise denied(request, "toggle", flag)

    def summary(self, row: Any) -> str:
        """The sentence that says which users have the flag now."""
        flag = find_row(conf.flag_model, row.key)
        return "" if flag is None else summary_of(flag)

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


def _alarms(plan: Plan, flag: FlagRow | None) -> Iterator[SafeString | str]:
    """Yields what is wrong. Makes a query for a plan that has not started."""
    command = format_html("<code>{}</code>", quoted_command("run-jobs", "--loop").strip('"'))
    if plan.is_unguarded:
        yield say(
            "Unguarded: run-jobs does not watch this plan, so no guard can stop the rollout. Start "
            "{command}, or pause the plan.",
            command=command,
        ).html
    elif plan.state in {State.PENDING, State.PAUSED} and not DriverRun.is_recent():
        text = say(
            "The plan cannot start, because run-jobs does not run. Start {command}.",
            command=command,
        )
        yield text.html
    if flag is None and plan.own_flag is not None:
        yield say("The flag was renamed to {key}.", key=plan.own_flag.key).local
    elif flag is None:
        yield say("The flag no longer exists. Delete this plan.").local
    elif not flag.enabled and plan.step is not None and plan.state != State.DONE:
        if flag.rollout_percent:
            yield say(
                "The flag is off. To go on, undo what turned it off, or set its rollout to 0 % and "
                "turn it on; then open this page again."
            ).local
        else:
            yield say("The flag is off. To go on, turn it on, and open this page again.").local


def _notes(plan: Plan, flag: FlagRow | None) -> list[str]:
    """Returns what a person should know of an active plan."""
    if flag is None or plan.state not in ACTIVE_STATES or plan.problem:
        return []
    notes = [*map(sentence, notes_of(plan, flag, has_traffic=plan.step is None))]
    if not flag.enabled and plan.step is None:
        notes.append(say("The flag is off. The start of the plan turns it on.").local)
    return notes
