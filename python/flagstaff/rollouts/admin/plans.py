"""The admin of rollout plans: a list, a page with buttons for each plan, and a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Case, QuerySet, When
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.rows import FlagRow, all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff.admin.action_page import ActionPageAdmin, Button, Deletion
from flagstaff.admin.cells import labelled_cell
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.page import page_of, page_of_row
from flagstaff.admin.rights import hidden_rows, may
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.rollouts import plans
from flagstaff.rollouts.admin.buttons import buttons_of
from flagstaff.rollouts.admin.form_page import FormPage
from flagstaff.rollouts.admin.page import page_context
from flagstaff.rollouts.admin.roll_backs import People, people_of, reason_note
from flagstaff.rollouts.admin.texts import (
    NONE,
    guard_label,
    state_label,
    state_name,
    step_text,
    time_html,
    time_of,
    with_time,
)
from flagstaff.rollouts.admin.trips import attention_text, difference_text, trip_sentence
from flagstaff.rollouts.attention import plans_to_look_at
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import WATCHED_STATES, Plan, PlanEvent
from flagstaff.rollouts.status import flag_of_plan

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

    _ChangeList = ChangeList
else:
    _ChangeList = object


class _PlanListMixin(_ChangeList):
    """A list that finds the names of all actors and the flags with one query each."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown, page = list(self.result_list), page_of(request)
        flags = all_rows(conf.flag_model).filter(key__in=[plan.key for plan in shown])
        names = actor_table().names({plan.actor for plan in shown if plan.actor})
        first = page.kept(_FirstPlans)
        by_pk = {str(flag.pk): flag for flag in flags}
        red = first.pks if first else frozenset[int]()
        page.keep(_PlanList(names, by_pk, red, people_of(shown)))
        page.show(shown)


@dataclass(frozen=True)
class _PlanList:
    """What the list shows besides the plans."""

    names: Mapping[str, str] = field(default_factory=dict)
    #: By the text of the primary key.
    flags: Mapping[str, FlagRow] = field(default_factory=dict)
    #: The primary keys of the plans that need attention.
    red: AbstractSet[int] = frozenset()
    #: Who has rolled plans back.
    people: People = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> tuple[_PlanList, FlagRow | None]:
        """Returns what the list of a plan shows, and the flag of the plan."""
        page = page_of_row(plan)
        found = (page and page.kept(cls)) or cls()
        flag = found.flags.get(plan.flag_pk)
        return found, flag if flag is not None and flag.key == plan.key else None


@dataclass(frozen=True)
class _FirstPlans:
    """The primary keys of the plans that need attention, which come first."""

    pks: AbstractSet[int]


@dataclass(frozen=True)
class _FlagOfPlan:
    """The flag of the plan of a page; None if it was deleted, or created again."""

    flag: FlagRow | None
    #: Its version, which is never newer than the flag. None without a history.
    version: int | None


class PlanAdmin(ActionPageAdmin):
    """Rollout plans: a list, a page for each plan with its buttons, and a form for new ones."""

    page_template = "flagstaff/rollouts/plan.html"
    stale_text = gettext_lazy(
        "Not saved: the plan has changed since you opened the page. The page now shows the present "
        "state; press the button again."
    )

    docs_page = "how-to/rollout-plans/"
    list_display: _ListDisplayT[Plan] = (
        "flag",
        "shown_state",
        "shown_step",
        "due",
        "shown_guards",
        "started_by",
    )
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "reason")
    ordering = ("-id",)

    class Media:
        css = {
            "all": (
                *("flagstaff/admin.css", "flagstaff/lists.css"),
                *("flagstaff/charts.css", "flagstaff/action_page.css", "flagstaff/rollouts.css"),
            )
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """The plans without those of hidden flags, with the time of the database's clock."""
        hidden = hidden_rows(self.admin_site, request, conf.flag_model)
        shown = super().get_queryset(request).exclude(flag_pk__in=[*hidden])
        return with_time(shown.defer("salt"))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Plan | None:
        """The plan of a page. Reads its flag, too, again if the page asks again."""
        plan = super().get_object(request, object_id, from_field)
        if plan is not None:
            page = page_of(request)
            page.show((plan,))
            # The version first, so that a later change of the flag is noticed.
            version = version_of(Kind.FLAG, plan.flag_pk)
            page.keep(_FlagOfPlan(flag_of_plan(plan), version))
        return plan

    # The permissions for flags decide.

    def has_view_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """Whether the user may see plans, or the flag of this one."""
        return may(self.admin_site, request, "view", _flag_or_model(obj))

    has_module_permission = has_view_permission

    def has_change_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        """Whether the user may create, change and delete plans, or that of this flag."""
        return may(self.admin_site, request, "toggle", _flag_or_model(obj))

    has_add_permission = has_delete_permission = has_change_permission

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list. Its base class may be a theme's."""
        base = super().get_changelist(request, **kwargs)
        page_of(request).is_list = True
        return type("PlanList", (_PlanListMixin, base), {})

    def get_ordering(self, request: HttpRequest) -> Any:
        """In the list, the plans that need attention first. Makes up to four queries."""
        if not page_of(request).is_list:
            return self.ordering
        pks = page_of(request).once(_FirstPlans, lambda: _FirstPlans(plans_to_look_at())).pks
        first = [Case(When(pk__in=pks, then=0), default=1)] if pks else []
        return [*first, *self.ordering]

    def buttons(self, request: HttpRequest, row: Plan) -> Sequence[Button]:
        """The buttons of the newest plan of the flag: the others cannot be changed by their key."""
        if not _is_newest(row):
            return ()
        facts = _facts_of(row)
        return buttons_of(row, facts.flag, facts.version, viewer=request.user)

    def version(self, row: Plan) -> str:
        """A text that differs whenever the plan or its flag has changed."""
        return f"{row.version}-{_facts_of(row).version}"

    def page_context(self, request: HttpRequest, row: Plan) -> Mapping[str, object]:
        """The state, steps, guards and figures."""
        return page_context(self.admin_site, request, row, _facts_of(row).flag)

    def events(self, row: Plan) -> QuerySet[PlanEvent]:
        """What has happened to the plan."""
        return PlanEvent.objects.using(conf.database).filter(plan=row)

    def deletion(self, request: HttpRequest, row: Plan) -> Deletion:
        """What the page says that deletes a plan. The flag stays as it is."""
        flag, names = _facts_of(row).flag, {"key": row.key}
        rollout = NONE if flag is None else f"{flag.rollout_percent} %"
        question = _(
            "Delete the rollout plan of “%(key)s” with its figures and events? The flag stays as "
            "it is."
        )
        running = _("The plan of “%(key)s” is running. Pause it before you delete it.")
        return Deletion(
            title=_("Delete a rollout plan"),
            question=question % names,
            rows=[
                PreviewRow(_("plan"), state_name(row), _("deleted")),
                PreviewRow(_("rollout"), rollout, rollout),
            ],
            done=_("The plan of “%(key)s” was deleted. The flag stays as it is.") % names,
            refused=running % names if row.state in WATCHED_STATES else "",
        )

    def delete(self, row: Plan) -> None:
        """Deletes a plan, also one that is not the newest of its flag."""
        if _is_newest(row):
            plans.delete(row.key)
        else:
            row.delete(using=conf.database)

    def add_page(self, request: HttpRequest) -> HttpResponse:
        """The form of a new plan."""
        return FormPage(self, request).answer()

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, plan: Plan) -> SafeString:
        """The key of the flag."""
        return format_html('<span class="flagstaff-key">{}</span>', plan.key)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, plan: Plan) -> SafeString:
        """The state, in red what needs attention, and why the state is so."""
        shown, flag = _PlanList.of(plan)
        text = attention_text(plan, flag, time_of(plan)) if plan.pk in shown.red else ""
        if text:
            label = format_html('<span class="flagstaff-state flagstaff-attention">{}</span>', text)
        else:
            label = state_label(plan)
        # The label has the counts of a trip.
        note = "" if text and trip_sentence(plan) else reason_note(plan, shown.people)
        return format_html('{} <span class="flagstaff-note">{}</span>', label, note)

    @admin.display(description=gettext_lazy("step"))
    def shown_step(self, plan: Plan) -> SafeString:
        """The percentage and the number of the present step, and of the flag if it differs."""
        try:
            text = step_text(plan)
        except InvalidPlanError:
            text = _("not valid")
        shown, flag = _PlanList.of(plan)
        differs = "" if plan.pk in shown.red else difference_text(plan, flag)
        note = format_html('<span class="flagstaff-note">{}</span>', differs) if differs else ""
        return labelled_cell(_("step"), format_html("{} {}", text, note))

    @admin.display(description=gettext_lazy("due"), ordering="due_at")
    def due(self, plan: Plan) -> SafeString:
        """When the plan takes its next step."""
        return labelled_cell(_("due"), time_html(plan.due_at, time_of(plan)))

    @admin.display(description=gettext_lazy("guards"))
    def shown_guards(self, plan: Plan) -> SafeString:
        """The guards in words."""
        try:
            guards = guards_from_json(plan.guards)
        except InvalidPlanError:
            return labelled_cell(_("guards"), _("not valid"))
        return labelled_cell(_("guards"), ", ".join(map(guard_label, guards)) or _("none"))

    @admin.display(description=gettext_lazy("by"))
    def started_by(self, plan: Plan) -> SafeString:
        """Who created the plan."""
        shown, _flag = _PlanList.of(plan)
        return labelled_cell(_("by"), shown.names.get(plan.actor, plan.actor))


def _facts_of(plan: Plan) -> _FlagOfPlan:
    page = page_of_row(plan)
    return (page and page.kept(_FlagOfPlan)) or _FlagOfPlan(None, None)


def _flag_or_model(plan: Plan | None) -> Any:
    """Returns the flag of a plan, or the model of flags without a plan, or without its flag."""
    if plan is None:
        return conf.flag_model
    page = page_of_row(plan)
    facts = page and page.kept(_FlagOfPlan)
    flag = facts.flag if facts else flag_of_plan(plan)
    return conf.flag_model if flag is None else flag


def _is_newest(plan: Plan) -> bool:
    """Whether the plan is the one that is changed by its key. Makes up to two queries."""
    newest = plans.find_plan(plan.key)
    return newest is not None and newest.pk == plan.pk
