"""Cells of the list of flags with what was read besides the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from flagstaff._tables.optional_fields import optional_fields
from flagstaff._tables.tags import usable_tags
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, local_time_text
from flagstaff.admin.cells import (
    changed_cell,
    key_cell,
    labelled_cell,
    newest_change_cell,
    time_cell,
)
from flagstaff.admin.flag.list.facts import RECENT, PageFacts, facts_of
from flagstaff.history.describe import field_label
from flagstaff.history.events import Difference, Event

_MAX_PARTS = 3
_MAX_TAGS = 5


def change_text(event: Event) -> str:
    """Returns the most important differences of an event. Shows no name of a user."""
    if event.action == "create":
        return _("created")
    return local_list(_parts(event), _MAX_PARTS)


def _parts(event: Event) -> Iterator[str]:
    by_name = {one.field: one for one in event.differences}
    if enabled := by_name.pop("enabled", None):
        yield f"{_on_off(enabled.old)} → {_on_off(enabled.new)}"
    if rollout := by_name.pop("rollout_percent", None):
        yield _percent(rollout)
    if count := event.added.count:
        text = ngettext("%(count)s user added", "%(count)s users added", count)
        yield text % {"count": local_number(count)}
    if count := event.removed.count:
        text = ngettext("%(count)s user removed", "%(count)s users removed", count)
        yield text % {"count": local_number(count)}
    yield from map(field_label, by_name)


def _percent(difference: Difference) -> str:
    values = {"old": difference.old, "new": difference.new}
    return _("%(old)s → %(new)s %%") % values


def _on_off(value: object) -> str:
    if value:
        return pgettext("state of a flag", "on")
    return pgettext("state of a flag", "off")


def evaluated_cell(flag: Any) -> SafeString:
    """Returns the time of the last evaluation, and the share of true results of 24 hours.

    Says "never" only where an evaluation would have been counted.
    """
    facts = facts_of(flag)
    if facts.last_evaluated_at is not None:
        return labelled_cell(
            _("evaluated"), format_html("{} {}", time_cell(facts.last_evaluated_at), _share(facts))
        )
    if facts.counted_since is None or optional_fields(flag).client_side:
        return SafeString()
    text = _("Evaluations are counted since %(time)s.")
    title = text % {"time": local_time_text(facts.counted_since)}
    never = format_html('<span title="{}">{}</span>', title, _("never"))
    return labelled_cell(_("evaluated"), never)


def newest_cell(flag: Any) -> SafeString:
    """Returns the newest change, its actor and its time; without a history, the time only."""
    facts = facts_of(flag)
    shown = (
        changed_cell(flag)
        if facts.event is None
        else newest_change_cell(change_text(facts.event), facts.event, facts.names)
    )
    return labelled_cell(_("changed"), shown)


def flag_cell(flag: Any, anchor: str) -> SafeString:
    """Returns the key, the description, the owner and the tags."""
    return format_html(
        '{}<span class="flagstaff-note flagstaff-owner">{}</span>',
        key_cell(flag, anchor),
        _owner_and_tags(flag),
    )


def _owner_and_tags(flag: Any) -> str:
    fields = optional_fields(flag)
    tags = local_list(usable_tags(fields.tags), _MAX_TAGS)
    return " · ".join(filter(None, (fields.owner, tags)))


def allowed_cell(count: int) -> SafeString:
    """Returns the number of allowed users; empty without any."""
    return labelled_cell(_("allowed users"), local_number(count) if count else "")


def _share(facts: PageFacts) -> SafeString:
    """The share of true results as text and as a bar; empty without an evaluation."""
    count = facts.true_count + facts.false_count
    if not count:
        return SafeString()
    # Not rounded to 0 or 100 unless it is exactly that.
    percent = round(100 * facts.true_count / count)
    percent = min(max(percent, int(facts.true_count > 0)), 100 - int(facts.false_count > 0))
    text = ngettext(
        "%(count)s evaluation in %(hours)s hours",
        "%(count)s evaluations in %(hours)s hours",
        count,
    )
    hours = int(RECENT.total_seconds()) // 3600
    return format_html(
        '<span class="flagstaff-note" title="{}">{}</span>'
        '<progress class="flagstaff-bar" max="100" value="{}" aria-hidden="true"></progress>',
        text % {"count": local_number(count), "hours": hours},
        _("%(percent)s %% true in %(hours)s h") % {"percent": percent, "hours": hours},
        percent,
    )
