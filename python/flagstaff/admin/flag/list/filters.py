"""The filters of the list of flags. Each choice is a URL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff._extensions import OptionalApp, optional_apps
from flagstaff._tables.flag_states import ReleaseState
from flagstaff._tables.optional_fields import WITHOUT_OWNER, WITHOUT_RULES
from flagstaff._tables.tags import with_tags
from flagstaff._words.local_formats import local_days
from flagstaff.admin.flag.list.conditions import (
    LONG,
    STATES,
    changed_since,
    has_usage,
    in_state,
    not_evaluated_since,
    owned_by,
)
from flagstaff.admin.flag.list.overview import stored_ownership

_Choices = list[tuple[str, str]]

#: The choice of flags that were not changed for a long time.
UNCHANGED = "not-30d"
_PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=LONG),
}
_NEVER = "never"


class StateFilter(admin.SimpleListFilter):
    """Flags by the label of their state."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        labels = {
            ReleaseState.ROLLOUT.value: _("in rollout"),
            ReleaseState.BY_RULES.value: _("by rules"),
            ReleaseState.ALLOWED_USERS.value: _("allowed users only"),
            ReleaseState.ALL.value: _("on for all"),
            ReleaseState.NO_USERS.value: _("on for no users"),
            ReleaseState.OFF.value: pgettext("state of a flag", "off"),
        }
        return [(state, labels[state]) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        state = self.value()
        return queryset.filter(in_state(queryset.model, state)) if state in STATES else queryset


class ChangedFilter(admin.SimpleListFilter):
    """Flags that were changed since a time, in any way, or not."""

    title = gettext_lazy("changed")
    parameter_name = "changed"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        unchanged = _("not in the last %(days)s") % {"days": local_days(LONG)}
        return [
            *((choice, _in_the_last(period)) for choice, period in _PERIODS.items()),
            (UNCHANGED, unchanged),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        value, now = self.value() or "", timezone.now()
        if value == UNCHANGED:
            return queryset.exclude(changed_since(queryset.model, now - timedelta(days=LONG)))
        if value in _PERIODS:
            return queryset.filter(changed_since(queryset.model, now - _PERIODS[value]))
        return queryset


class EvaluatedFilter(admin.SimpleListFilter):
    """Flags without an evaluation since a time. Not shown where usage is not counted."""

    title = gettext_lazy("evaluated")
    parameter_name = "evaluated"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        if not has_usage():
            return []
        text = _("not in the last %(days)s")
        days = [(f"not-{number}d", text % {"days": local_days(number)}) for number in (7, LONG)]
        return [*days, (_NEVER, _("never"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        value = self.value()
        if value == _NEVER:
            return queryset.filter(not_evaluated_since(queryset.model, None))
        days = {f"not-{number}d": timedelta(days=number) for number in (7, LONG)}.get(value or "")
        if days is None:
            return queryset
        return queryset.filter(not_evaluated_since(queryset.model, timezone.now() - days))


class StaleFilter(admin.SimpleListFilter):
    """Flags that are probably no longer needed. Not shown if no app finds them."""

    title = gettext_lazy("stale")
    parameter_name = "stale"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        return [("yes", _("stale"))] if _apps_that_find_stale_flags() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice. Looks at all flags."""
        if self.value() != "yes":
            return queryset
        pks = {pk for app in _apps_that_find_stale_flags() for pk in app.stale_flags()}
        return queryset.filter(pk__in=pks)


class MineFilter(admin.SimpleListFilter):
    """Flags whose owner is the user of the request."""

    title = gettext_lazy("ownership")
    parameter_name = "mine"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        return [("yes", _("owned by me"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        return queryset.filter(owned_by(request)) if self.value() == "yes" else queryset


class RulesFilter(admin.SimpleListFilter):
    """Flags with rules, or without."""

    title = gettext_lazy("rules")
    parameter_name = "has_rules"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        return [("yes", _("with rules")), ("no", _("without rules"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        choices = {"yes": queryset.exclude(WITHOUT_RULES), "no": queryset.filter(WITHOUT_RULES)}
        return choices.get(self.value() or "", queryset)


class OwnerFilter(admin.SimpleListFilter):
    """Flags of one owner, or without an owner. Not shown if no flag has one."""

    title = gettext_lazy("owner")
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter. One query for both filters."""
        owners = stored_ownership(request, model_admin).owners
        choices = [(owner, owner) for owner in owners]
        return [*choices, ("", _("without an owner"))] if choices else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        owner = self.value()
        if owner is None:
            return queryset
        return queryset.filter(Q(owner=owner) if owner else WITHOUT_OWNER)


class TagFilter(admin.SimpleListFilter):
    """Flags with one tag. Not shown if no flag has one."""

    title = gettext_lazy("tag")
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter. One query for both filters."""
        return [(tag, tag) for tag in stored_ownership(request, model_admin).tags]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        tag = self.value()
        return queryset if tag is None else queryset.filter(with_tags(queryset.model, [tag]))


def _in_the_last(period: timedelta) -> str:
    if period.days > 1:
        return _("in the last %(days)s") % {"days": local_days(period.days)}
    hours = int(period.total_seconds()) // 3600
    text = ngettext("in the last %(count)s hour", "in the last %(count)s hours", hours)
    return text % {"count": hours}


def _apps_that_find_stale_flags() -> list[OptionalApp]:
    base = OptionalApp.stale_flags
    return [app for app in optional_apps() if type(app).stale_flags is not base]
