"""The list of flags: its order, its columns and its shortcuts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote as quoted_pk
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import InvalidPage
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from flagstaff._engine.usage import KeyUsage
from flagstaff._tables.bucket_units import USER, VISITOR, short_unit
from flagstaff._tables.flag_states import FlagState, ReleaseState
from flagstaff._tables.tags import usable_tags
from flagstaff._words.text import local_list, local_number
from flagstaff._words.times import full_time, local_days, today
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.cells import short, time_cell, two_lines
from flagstaff.admin.confirmation import count_of_users
from flagstaff.admin.flag.listed import (
    ATTENTION,
    FILTERS,
    LONG,
    OWNED_BY_ME,
    UNCHANGED,
    Flags,
    ListedFlag,
    flags_of,
    is_counted,
)
from flagstaff.admin.flag.sections import percent_true
from flagstaff.admin.flag.state import ALLOWED_COUNT, class_and_label, with_allowed_count
from flagstaff.admin.links import changes_url
from flagstaff.admin.menu import page_link
from flagstaff.admin.rights import may, why_not_toggle
from flagstaff.history.kinds import Kind
from flagstaff.stale.signals import Signal
from flagstaff.stale.texts import SIGNAL_LABELS
from flagstaff.validators import rule_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

# The id of the sentence that says why buttons are disabled.
_WHY_NOT = "flagstaff-why-not"
_DJANGOS_BOX: Any = admin.ModelAdmin.action_checkbox
_CHECKBOX = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
_MAX_TAGS = 5


class FlagChangeList(ChangeList):
    """Sorts the flags in Python, and reads the rows of its page only."""

    model_admin: FlagListAdmin

    def get_results(self, request: HttpRequest) -> None:
        """Reads the page: first what needs attention, then the last changed."""
        flags = flags_of(request, self.model_admin)
        found = [*flags.all]
        if self.params or self.query:
            by_pk = {flag.pk: flag for flag in flags.all}
            found = [by_pk[pk] for pk in self.queryset.values_list("pk", flat=True) if pk in by_pk]
        if ORDER_VAR not in self.params:
            found.sort(key=lambda flag: (flag.needs_attention, flag.changed), reverse=True)
        else:
            # The last one first. Django has sorted by other columns, such as those of a project.
            names = dict(enumerate(self.list_display))
            for number, direction in reversed(self.get_ordering_field_columns().items()):
                if key := flags.sort_keys.get(str(names.get(int(number)))):
                    found.sort(key=key, reverse=direction == "desc")
        self.paginator = self.model_admin.paginator(found, self.list_per_page)
        self.result_count, self.full_result_count = len(found), len(flags.all)
        self.show_full_result_count = True
        self.show_admin_actions = bool(flags.all)
        self.can_show_all = len(found) <= self.list_max_show_all
        self.multi_page = len(found) > self.list_per_page
        if self.multi_page and not (self.show_all and self.can_show_all):
            try:
                found = self.paginator.page(self.page_num).object_list
            except InvalidPage as error:
                raise IncorrectLookupParameters from error
        self.result_list = flags.rows_of(found)


class FlagListAdmin(BaseAdmin):
    """Shows the list. The rows that its columns get have the attributes of `Flags.rows_of`."""

    list_display: _ListDisplayT[Any] = ("flag", "state", "usage", "changed", "owned_by", "on_off")
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (*FILTERS, "kind")
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", "owner", "tags")
    # The bar is shown while flags are selected.
    actions_on_top, actions_on_bottom = False, True
    # The choices are counted by the shortcuts.
    show_facets = admin.ShowFacets.NEVER
    search_help_text = gettext_lazy("Key, description, owner, tag")
    ordering = ("-changed_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The flags, with the number of allowed users where the query reads it."""
        return with_allowed_count(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list."""
        return FlagChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """The columns that have something to show."""
        columns: Sequence[Any] = super().get_list_display(request)
        return [one for one in columns if one != "usage" or is_counted()]

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> dict[str, Any]:
        """The shortcuts above the list, and why buttons are disabled."""
        flags, model = flags_of(request, self), self.model
        may_toggle = may(self.admin_site, request, "toggle", model)
        deleted = {"q": changelist.query, "kind": Kind.FLAG.value}
        return {
            "flagstaff_shortcuts": [*_shortcuts(request, flags)],
            "flagstaff_total": len(flags.all),
            "flagstaff_order": "" if ORDER_VAR in request.GET else _order_text(len(flags.all)),
            "flagstaff_deleted_url": changes_url(self.admin_site, deleted)
            if changelist.query and page_link(self.admin_site, request, "changes")
            else "",
            "flagstaff_why_not": "" if may_toggle else why_not_toggle(model),
            # Unfold shows the bar below the list, and only this one.
            "actions_on_top": self.actions_on_top or self._has_theme,
        }

    @property
    def _has_theme(self) -> bool:
        """Whether the boxes that select rows are those of a theme's ModelAdmin."""
        box = super().action_checkbox
        return getattr(box, "__func__", box) is not _DJANGOS_BOX

    # The columns.

    def action_checkbox(self, obj: Any) -> SafeString:
        """The box that selects a row. Django renders three templates for each."""
        if self._has_theme:
            return super().action_checkbox(obj)
        label = format_html(gettext("Select this object for an action - {}"), str(obj))
        return format_html(_CHECKBOX, ACTION_CHECKBOX_NAME, obj.pk, label)

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, flag: Any) -> SafeString:
        """The key; below, what needs attention or else all that is quiet."""
        listed: ListedFlag = flag.listed
        texts = [note.text for note in listed.notes if note.is_alarm]
        if not texts:
            texts = [note.text for note in listed.notes]
            if flag.review_on and flag.review_on < today():
                texts.append(_("stale: %(signals)s") % {"signals": SIGNAL_LABELS[Signal.REVIEW]})
            texts.append(short(flag.description))
        return format_html(
            '<span class="flagstaff-key" id="{0}" title="{1}">{1}</span>'
            '<small class="{2}" title="{3}">{4}</small>',
            *(_anchor(flag), flag.key, "flagstaff-alert" if listed.needs_attention else ""),
            *(flag.description, format_html_join(" · ", "{}", ((one,) for one in texts if one))),
        )

    @admin.display(description=gettext_lazy("state"), ordering="rollout_percent")
    def state(self, flag: Any) -> SafeString:
        """The state; below, the rollout as a bar, and what else decides about users."""
        allowed: int = getattr(flag, ALLOWED_COUNT)
        # The second line shows the unit: a phone has no room for both.
        state = FlagState(flag.enabled, flag.rollout_percent, flag.rules)
        css_class, label = class_and_label(state, allowed)
        # The label of other states has it.
        has_percent = flag.listed.state in {ReleaseState.BY_RULES, ReleaseState.OFF}
        texts = (
            f"{flag.rollout_percent} %" if has_percent else "",
            _unit_text(flag.bucket_by),
            _rules_text(flag.rules),
            count_of_users(allowed) if allowed else "",
        )
        return format_html(
            '<span class="flagstaff-state flagstaff-{}">{}</span><small><progress class="'
            'flagstaff-bar" max="100" value="{}" aria-hidden="true"></progress> {}</small>',
            *(css_class, label, flag.rollout_percent, " · ".join(filter(None, texts))),
        )

    @admin.display(description=gettext_lazy("24 hours"), ordering="key")
    def usage(self, flag: Any) -> SafeString | str:
        """The share of true results in 24 hours, and the time of the last evaluation."""
        found: KeyUsage = flag.usage_of_day
        last, to_browsers = found.last_evaluated_at, found.served_to_browsers_at
        if to_browsers is not None and (last is None or last < to_browsers):
            return two_lines(_("in browsers"), time_cell(to_browsers))
        if last is not None:
            share = _share(found)
            return two_lines(share, time_cell(last)) if share else time_cell(last)
        if found.served_in_bulk_at is not None:
            text = _("Served in bulk on %(time)s. An evaluation of one key would be counted.")
            title = text % {"time": full_time(found.served_in_bulk_at)}
            return format_html('<span title="{}">{}</span>', title, _("not known"))
        return _("never")

    # The first click shows the newest changes.
    @admin.display(description=gettext_lazy("last change"), ordering="-changed_at")
    def changed(self, flag: Any) -> str:
        """The newest change, its actor and its time; without a history, the time only."""
        return flag.newest_change or time_cell(flag.changed_at)

    @admin.display(description=gettext_lazy("owner"), ordering="owner", empty_value="")
    def owned_by(self, flag: Any) -> SafeString:
        """The owner; below, the tags."""
        return two_lines(flag.owner, local_list(usable_tags(flag.tags), _MAX_TAGS))

    @admin.display(description="")
    def on_off(self, flag: Any) -> SafeString:
        """A link to the page that turns the flag on, or kills it. Disabled without permission."""
        # The accessible name begins with the visible one.
        page, label = ("kill", _("Kill…")) if flag.enabled else ("on", _("Turn on…"))
        name = f"{label} {flag.key}"
        if not flag.may_toggle:
            return format_html(
                '<button type="button" class="button flagstaff-button" disabled aria-label="{}" '
                'aria-describedby="{}">{}</button>',
                *(name, _WHY_NOT, label),
            )
        # Afterwards the browser returns to this row of the same list. The address is below that of
        # the list: to look up a URL for each row takes long.
        return format_html(
            '<a class="button flagstaff-button" href="{}/{}/?{}{}" aria-label="{}">{}</a>',
            *(quoted_pk(flag.pk), page, flag.back, quote(_anchor(flag)), name, label),
        )


def _shortcuts(request: HttpRequest, flags: Flags) -> Iterator[Mapping[str, object]]:
    """Yields links to filters, with the numbers of their flags; none without a flag."""
    given = dict(request.GET.items())
    options = {one.parameter_name: one.options(flags) for one in FILTERS}
    shortcuts: Sequence[tuple[str, Mapping[str, str]]] = (
        (_("need attention"), {"state": ATTENTION}),
        (_("in rollout"), {"state": ReleaseState.ROLLOUT.value}),
        (_("changed in 24 hours"), {"changed": "24h"}),
        (_("owned by me"), {"owner": OWNED_BY_ME}),
        (
            _("on for all, unchanged for %(days)s") % {"days": local_days(LONG)},
            {"state": ReleaseState.ALL.value, "changed": UNCHANGED},
        ),
    )
    for label, chosen in shortcuts:
        found = flags.all
        for name, value in chosen.items():
            # Without an owner, nothing is owned by anybody.
            _text, test = options[name].get(value, ("", lambda _flag: False))
            found = [*filter(test, found)]
        if found:
            yield {
                "label": label,
                "count": local_number(len(found)),
                "query": f"?{urlencode(chosen)}",
                "is_current": given == chosen,
            }


def _order_text(count: int) -> str:
    text = ngettext(
        "%(count)s flag: attention first, then the last changed",
        "%(count)s flags: attention first, then the last changed",
        count,
    )
    return text % {"count": local_number(count)}


def _anchor(flag: Any) -> str:
    """The id of the flag's row in the list. A primary key may be any text."""
    return f"flag-{quote(str(flag.pk), safe='')}"


def _unit_text(unit: str) -> str:
    """What the percentage counts; "" if it counts users."""
    if unit == USER:
        return ""
    return _("of visitors") if unit == VISITOR else _("by %(unit)s") % {"unit": short_unit(unit)}


def _rules_text(rules: object) -> str:
    """How many rules there are; "" without rules."""
    if rules == []:
        return ""
    if not isinstance(rules, list) or rule_problem(rules) is not None:
        return _("unreadable rules")
    text = ngettext("%(count)s rule", "%(count)s rules", len(rules))
    return text % {"count": local_number(len(rules))}


def _share(usage: KeyUsage) -> SafeString:
    """The share of true results, with the number as a tooltip; empty without an evaluation."""
    count = usage.true_count + usage.false_count
    if not count:
        return SafeString()
    text = ngettext(
        "%(count)s evaluation in %(hours)s hours",
        "%(count)s evaluations in %(hours)s hours",
        count,
    )
    title = text % {"count": local_number(count), "hours": 24}
    shown = _("%(percent)s %% true") % {"percent": percent_true(usage.true_count, count)}
    return format_html('<span title="{}">{}</span>', title, shown)
