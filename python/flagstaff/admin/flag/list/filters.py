"""The filters of the list of flags. Each choice is a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff._tables.flag_states import ReleaseState
from flagstaff._tables.tags import with_tags
from flagstaff._words.times import local_days
from flagstaff.admin.flag.list.conditions import (
    LONG,
    STATES,
    WITHOUT_RULES,
    changed_since,
    has_usage,
    in_state,
    not_evaluated_since,
    owned_by,
)
from flagstaff.admin.flag.list.overview import stored_ownership
from flagstaff.stale import stale_flags

_Choices = list[tuple[str, str]]
_Options = Mapping[str, tuple[str, Callable[[], Q]]]

#: The choice of flags that are on, for any users.
ENABLED = "on"
#: The choice of flags whose owner is the user of the request. No owner begins like this.
OWNED_BY_ME = "@me"
#: The choice of flags that were not changed for a long time.
UNCHANGED = "not-30d"
_PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=LONG),
}


class _FlagFilter(admin.SimpleListFilter):
    """A filter by conditions. Without choices, Django does not show it."""

    #: The flags of a value that is no choice.
    unknown = Q()

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """Returns the text of each value of the URL, and what returns its condition."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Choices:
        """The choices of the filter."""
        found = self.options(request, model_admin)
        self._conditions = {value: condition for value, (_text, condition) in found.items()}
        return [(value, text) for value, (text, _condition) in found.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The flags of the choice."""
        value = self.value()
        if value is None:
            return queryset
        condition = self._conditions.get(value)
        return queryset.filter(condition() if condition else self.unknown)


class StateFilter(_FlagFilter):
    """Flags by the label of their state."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """The states, and all that are on."""
        labels = {
            ReleaseState.ROLLOUT: _("in rollout"),
            ReleaseState.BY_RULES: _("by rules"),
            ReleaseState.ALLOWED_USERS: _("allowed users only"),
            ReleaseState.ALL: _("on for all"),
            ReleaseState.NO_USERS: _("on for no users"),
            ReleaseState.OFF: pgettext("state of a flag", "off"),
        }
        is_in = partial(in_state, request, model_admin.model)
        states = {state.value: (labels[state], partial(is_in, state)) for state in STATES}
        return {ENABLED: (pgettext("state of a flag", "on"), partial(Q, enabled=True)), **states}


class ChangedFilter(_FlagFilter):
    """Flags that were changed since a time, in any way, or not."""

    title = gettext_lazy("changed")
    parameter_name = "changed"

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """The periods, and the longest one without a change."""
        now, changed = timezone.now(), partial(changed_since, model_admin.model)
        unchanged = _("not in the last %(days)s") % {"days": local_days(LONG)}
        return {
            **{
                value: (_in_the_last(period), partial(changed, now - period))
                for value, period in _PERIODS.items()
            },
            UNCHANGED: (unchanged, lambda: ~changed(now - timedelta(days=LONG))),
        }


class EvaluatedFilter(_FlagFilter):
    """Flags without an evaluation since a time. Not shown where usage is not counted."""

    title = gettext_lazy("evaluated")
    parameter_name = "evaluated"

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """The periods without an evaluation."""
        if not has_usage():
            return {}
        now, unused = timezone.now(), not_evaluated_since
        text = _("not in the last %(days)s")
        periods = {
            f"not-{days}d": (
                text % {"days": local_days(days)},
                partial(unused, now - timedelta(days=days)),
            )
            for days in (7, LONG)
        }
        return {**periods, "never": (_("never"), partial(unused, None))}


class StaleFilter(_FlagFilter):
    """Flags that are probably no longer needed."""

    title = gettext_lazy("stale")
    parameter_name = "stale"

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """The stale flags. The condition looks at all flags."""
        return {"yes": (_("stale"), lambda: Q(pk__in={flag.facts.pk for flag in stale_flags()}))}


class RulesFilter(_FlagFilter):
    """Flags with rules, or without."""

    title = gettext_lazy("rules")
    parameter_name = "has_rules"

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """With rules, or without."""
        return {
            "yes": (_("with rules"), lambda: ~WITHOUT_RULES),
            "no": (_("without rules"), lambda: WITHOUT_RULES),
        }


class OwnerFilter(_FlagFilter):
    """Flags of one owner, or without an owner. Not shown if no flag has one."""

    title = gettext_lazy("owner")
    parameter_name = "owner"
    unknown = Q(pk__in=[])

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """The owners. One query for both filters."""
        owners = stored_ownership(request, model_admin).owners
        if not owners:
            return {}
        return {
            OWNED_BY_ME: (_("owned by me"), partial(owned_by, request)),
            **{owner: (owner, partial(Q, owner=owner)) for owner in owners},
            "": (_("without an owner"), partial(Q, owner="")),
        }


class TagFilter(_FlagFilter):
    """Flags with one tag. Not shown if no flag has one."""

    title = gettext_lazy("tag")
    parameter_name = "tag"
    unknown = Q(pk__in=[])

    def options(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> _Options:
        """The tags. One query for both filters."""
        tags = stored_ownership(request, model_admin).tags
        return {tag: (tag, partial(with_tags, model_admin.model, [tag])) for tag in tags}


def _in_the_last(period: timedelta) -> str:
    if period.days > 1:
        return _("in the last %(days)s") % {"days": local_days(period.days)}
    hours = int(period.total_seconds()) // 3600
    text = ngettext("in the last %(count)s hour", "in the last %(count)s hours", hours)
    return text % {"count": hours}
