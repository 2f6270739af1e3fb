"""What the pages of flags and of recent changes show of rollout plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Case, Model, Q, Value, When
from django.forms import Media
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.page import page_of_row
from flagstaff.admin.part import AppPart
from flagstaff.admin.rights import may
from flagstaff.conf import conf
from flagstaff.rollouts.admin.roll_backs import (
    People,
    people_of,
    rolled_back_note,
    state_sentences,
)
from flagstaff.rollouts.admin.steps_svg import steps_chart
from flagstaff.rollouts.admin.texts import state_label, state_name, time_of, with_time
from flagstaff.rollouts.admin.trips import attention_text, difference_text
from flagstaff.rollouts.admin.warnings import unguarded_label
from flagstaff.rollouts.attention import (
    acted_on,
    needing_attention,
    rolled_back_by_person,
    was_rolled_back_by_person,
)
from flagstaff.rollouts.models import ACTIVE_STATES, WATCHED_STATES, Plan, State
from flagstaff.rollouts.status import plan_percent
from flagstaff.rollouts.unguarded import is_unguarded


class FlagPlan(AppPart):
    """The rollout plan of a flag."""

    app_label = "flagstaff_rollouts"
    panel_title = gettext_lazy("Rollout plan")

    def media(self) -> Media:
        """The stylesheets of the panel."""
        return Media(css={"all": ("flagstaff/action_page.css", "flagstaff/rollouts.css")})

    def new_row(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """The link to the page that plans a rollout."""
        return _add_links(self.admin.admin_site, request, row)

    def notes(self, flags: Sequence[Any]) -> Mapping[str, SafeString]:
        """The state of the active plans that need no attention, and roll backs by a person.

        With `attention` one query, with roll backs three. One more if rules name segments.
        """
        found = _plans_of(flags).by_flag
        active = {pk: plan for pk, plan in found.items() if plan.state in ACTIVE_STATES}
        quiet = active.keys() - self.attention(flags).keys()
        by_pk = {str(flag.pk): flag for flag in flags}
        return {
            **{pk: _note(active[pk], by_pk[pk]) for pk in quiet},
            **_roll_backs(flags),
        }

    def attention(self, flags: Sequence[Any]) -> Mapping[str, SafeString]:
        """The plans that were stopped or are unguarded, until somebody acts."""
        found = _plans_of(flags).by_flag
        texts = {
            str(flag.pk): attention_text(plan, flag, time_of(plan))
            for flag in flags
            if (plan := found.get(str(flag.pk)))
        }
        return {pk: format_html("{}", text) for pk, text in texts.items() if text}

    def rows_of_change(self, flags: Sequence[Any]) -> Mapping[str, PreviewRow]:
        """A plan that runs is paused by another change of its flag."""
        paused = str(State.PAUSED.label)
        return {
            pk: PreviewRow(_("plan"), state_name(plan), paused)
            for pk, plan in _plans_of(flags).by_flag.items()
            if plan.state in WATCHED_STATES
        }

    def panel(self, request: HttpRequest, flag: Any) -> SafeString:
        """The plan of a flag, and links. Makes up to three queries, and those of permissions."""
        plans = _plans_of([flag])
        plan = plans.by_flag.get(str(flag.pk))
        links = _links(self.admin.admin_site, request, flag, plan)
        if plan is None:
            return format_html(
                '<p class="flagstaff-line">{} {}</p>', _("There is no rollout plan."), links
            )
        now = time_of(plan)
        is_watched = plan.state in WATCHED_STATES
        # The head of the page says where flag and plan differ.
        is_as_planned = is_watched and not difference_text(plan, flag)
        hint = _("Another change of this flag pauses the plan.") if is_as_planned else ""
        warning = unguarded_label() if is_unguarded(plan, now) else ""
        return format_html(
            '<div class="flagstaff-panel"><p class="flagstaff-line">{} {} {}</p>{}'
            '<p class="flagstaff-line">{} {}</p></div>',
            *(
                state_label(plan),
                warning,
                " ".join(state_sentences(plan, now, plans.people)),
                steps_chart(plan, now, flag),
                hint,
                links,
            ),
        )


@dataclass(frozen=True)
class _Plans:
    """The plans of the flags of a page, and who has rolled them back."""

    #: By the text of the primary key of the flag.
    by_flag: Mapping[str, Plan]
    people: People


def _plans_of(flags: Sequence[Model]) -> _Plans:
    """Returns the active plan of each flag, or else its last one, once for a page.

    One query; three if a person has rolled a plan back.
    """
    page = page_of_row(flags[0]) if flags else None
    read = partial(_read, flags)
    return page.once(_Plans, read) if page else read()


def _read(flags: Sequence[Model]) -> _Plans:
    pks = {str(flag.pk) for flag in flags}
    every = with_time(Plan.objects.using(conf.database).defer("salt"))
    is_active = Case(When(state__in=ACTIVE_STATES, then=Value(0)), default=Value(1))
    if len(flags) == 1:
        newest = every.filter(flag_pk__in=pks).order_by(is_active, "-id")[:1]
    else:
        # A list shows no plan that has ended well. The others are few: fewer than its flags.
        plans = Plan.objects.using(conf.database).order_by()
        is_shown = Q(state__in=ACTIVE_STATES)
        for ended in (needing_attention(plans), rolled_back_by_person(plans)):
            is_shown |= Q(pk__in=ended.values("pk"))
        newest = every.filter(is_shown).order_by(is_active, "-id")
    # The first one of each flag counts.
    found = {plan.flag_pk: plan for plan in reversed(list(newest)) if plan.flag_pk in pks}
    return _Plans(found, people_of([*found.values()]))


def _roll_backs(flags: Sequence[Any]) -> dict[str, SafeString]:
    """Returns who has rolled plans back, until somebody changes the flag."""
    plans = _plans_of(flags)
    found = {pk: plan for pk, plan in plans.by_flag.items() if was_rolled_back_by_person(plan)}
    changed = acted_on([*found.values()], flags)
    return {
        pk: rolled_back_note(plan, time_of(plan), plans.people)
        for pk, plan in found.items()
        if plan.pk not in changed
    }


def _note(plan: Plan, flag: Any) -> SafeString:
    if text := difference_text(plan, flag):
        return format_html("{}", text)
    percent, state = plan_percent(plan), state_name(plan)
    text = (
        _("plan: %(state)s") % {"state": state}
        if percent is None
        else _("plan: %(percent)s %%, %(state)s") % {"percent": percent, "state": state}
    )
    return format_html("{}", text)


def _add_links(site: AdminSite, request: HttpRequest, flag: Any) -> list[tuple[str, str]]:
    if not (may_view(site, request, Plan) and may(site, request, "toggle", flag)):
        return []
    query = urlencode({"flag": flag.key})
    return [(f"{page_url(site, Plan, 'add')}?{query}", _("Plan a rollout"))]


def _links(site: AdminSite, request: HttpRequest, flag: Any, plan: Plan | None) -> SafeString | str:
    if not may_view(site, request, Plan):
        return ""
    links = []
    if plan is not None:
        links.append((page_url(site, Plan, "change", plan.pk), _("Open the plan")))
    if plan is None or plan.state not in ACTIVE_STATES:
        links += _add_links(site, request, flag)
    return format_html_join(" · ", '<a href="{}">{}</a>', links)
