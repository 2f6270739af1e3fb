"""The admin of rollout plans. A plan is not edited: it is deleted and created again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.rows import uncached
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.message import localized
from flagstaff.admin.cells import labelled_cell
from flagstaff.admin.permissions import FlagPermissionsMixin
from flagstaff.admin.views import EnvironmentMixin
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.admin.add_page import AddPageMixin
from flagstaff.rollouts.admin.page import PlanPageMixin
from flagstaff.rollouts.admin.texts import (
    guard_label,
    state_label,
    step_text,
    time_html,
    time_of,
    with_time,
)
from flagstaff.rollouts.admin.warnings import unguarded_label
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.unguarded import is_unguarded

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

    _ModelAdmin = admin.ModelAdmin[Plan]
    _ChangeList = ChangeList
else:
    _ModelAdmin = admin.ModelAdmin
    _ChangeList = object

# The attribute of a row in the list: the name of the actor.
_ACTOR = "flagstaff_actor"


class _PlanListMixin(_ChangeList):
    """A list that finds the names of all actors with one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        names = actor_table().names({plan.actor for plan in self.result_list if plan.actor})
        for plan in self.result_list:
            vars(plan)[_ACTOR] = names.get(plan.actor, plan.actor)


class PlanAdmin(
    EnvironmentMixin,
    FlagPermissionsMixin,
    AddPageMixin,
    PlanPageMixin,
    _ModelAdmin,
):
    """Rollout plans: a list, a page for each plan with its buttons, and a form for new ones."""

    flag_action = "toggle"
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
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "reason__text")
    ordering = ("-id",)
    # A plan is deleted on its page, which says what happens to the flag.
    actions = None

    class Media:
        css = {
            "all": (
                *("flagstaff/admin.css", "flagstaff/lists.css"),
                *("flagstaff/charts.css", "flagstaff/rollouts.css"),
            )
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """All plans of the flags' database, with the time of its clock."""
        found: QuerySet[Plan] = uncached(super().get_queryset(request).using(conf.database))
        return with_time(found.defer("salt"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list. Its base class may be a theme's."""
        base = super().get_changelist(request, **kwargs)
        return type("PlanList", (_PlanListMixin, base), {})

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, plan: Plan) -> SafeString:
        """The key of the flag."""
        return format_html('<span class="flagstaff-key">{}</span>', plan.key)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, plan: Plan) -> SafeString:
        """The state, why it is so, and a warning if nothing watches the plan."""
        warning: str = ""
        if is_unguarded(plan, time_of(plan)):
            warning = unguarded_label()
        return format_html(
            '{} {} <span class="flagstaff-note">{}</span>',
            *(state_label(plan), warning, localized(plan.reason)),
        )

    @admin.display(description=gettext_lazy("step"))
    def shown_step(self, plan: Plan) -> SafeString:
        """The percentage and the number of the present step."""
        try:
            text = step_text(plan)
        except InvalidPlanError:
            text = _("not valid")
        return labelled_cell(_("step"), text)

    @admin.display(description=gettext_lazy("due"), ordering="due_at")
    def due(self, plan: Plan) -> SafeString:
        """When the plan starts or takes its next step."""
        at = plan.starts_at if plan.state == State.PENDING else plan.due_at
        return labelled_cell(_("due"), time_html(at, time_of(plan)))

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
        name: str = vars(plan).get(_ACTOR, plan.actor)
        return labelled_cell(_("by"), name)
