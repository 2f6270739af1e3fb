"""The columns of the list of flags. They show what was read for the whole page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._engine.usage import KeyUsage
from flagstaff._tables.bucket_units import USER, VISITOR, short_unit
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.tags import usable_tags
from flagstaff._words.text import local_list, local_number
from flagstaff._words.times import local_time_text
from flagstaff.admin.cells import (
    MAX_DESCRIPTION,
    changed_cell,
    labelled_cell,
    newest_change_cell,
    time_cell,
    two_lines,
)
from flagstaff.admin.flag.list.facts import RECENT, FlagList
from flagstaff.admin.flag.parts.app_panels import app_texts
from flagstaff.admin.flag.state import (
    ALLOWED_COUNT,
    class_and_label,
    count_rules,
    forced_off_notice,
    partial_rule_notices,
)
from flagstaff.admin.links import BACK, page_url
from flagstaff.admin.part import Part
from flagstaff.history.describe import describe_difference, field_label
from flagstaff.history.log import Event
from flagstaff.models import FeatureFlag

#: The orders of columns that are sorted by an expression.
STATE_ORDER, EVALUATED_ORDER = "rollout_percent", "flagstaff_evaluated"
# The id of the sentence that says why buttons are disabled.
_WHY_NOT = "flagstaff-why-not"
_MAX_PARTS = 3
_MAX_TAGS = 5
_ALERT = '<span class="flagstaff-alert">{}</span>'
_ATTENTION = ' <span class="flagstaff-state flagstaff-attention">{}</span>'
_FLAG = (
    '<span class="flagstaff-first-line">'
    '<span class="flagstaff-key" id="{}" title="{}">{}</span> '
    '<span class="flagstaff-state flagstaff-{}">{}</span>{}</span> '
    '<span class="flagstaff-second-line" title="{}">{}</span>'
)


class FlagColumns(Part):
    """The columns."""

    displays = ("flag", "rollout", "evaluated", "changed", "on_off")

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, flag: FeatureFlag) -> SafeString:
        """The key, the state and what needs attention in one line; below, all that is quiet."""
        texts = app_texts(flag)
        problems = (*partial_rule_notices(FlagState.of(flag)), forced_off_notice(flag))
        quiet = (
            *(format_html(_ALERT, one) for one in problems if one),
            *texts.notes,
            Truncator(flag.description).chars(MAX_DESCRIPTION),
            flag.owner,
            local_list(usable_tags(flag.tags), _MAX_TAGS),
        )
        return format_html(
            _FLAG,
            _anchor(flag),
            flag.key,
            flag.key,
            *class_and_label(flag),
            format_html_join("", _ATTENTION, ((text,) for text in texts.attention)),
            flag.description,
            format_html_join(" · ", "{}", ((one,) for one in quiet if one)),
        )

    @admin.display(description=gettext_lazy("on/off"))
    def on_off(self, flag: FeatureFlag) -> SafeString:
        """A link to the page that turns the flag on, or kills it. Disabled without permission."""
        # The accessible name begins with the visible one.
        page, label, name = (
            ("kill", _("Kill…"), _("Kill… %(key)s"))
            if flag.enabled
            else ("on", _("Turn on…"), _("Turn on… %(key)s"))
        )
        name %= {"key": flag.key}
        shown = FlagList.of(flag)
        if str(flag.pk) not in shown.toggled:
            return format_html(
                '<button type="button" class="button flagstaff-button" disabled aria-label="{}" '
                'aria-describedby="{}">{}</button>',
                name,
                _WHY_NOT,
                label,
            )
        # Afterwards the browser returns to this row of the same list.
        back = urlencode({BACK: f"{shown.path}#{_anchor(flag)}"})
        url = page_url(self.admin.admin_site, self.admin.model, page, flag.pk)
        return format_html(
            '<a class="button flagstaff-button" href="{}?{}" aria-label="{}">{}</a>',
            url,
            back,
            name,
            label,
        )

    @admin.display(description=gettext_lazy("rollout"), ordering=STATE_ORDER)
    def rollout(self, flag: FeatureFlag) -> SafeString:
        """The rollout as a bar and a percentage, and what else decides about users."""
        allowed: int = getattr(flag, ALLOWED_COUNT)
        rules = count_rules(flag)
        users = ngettext("%(count)s allowed user", "%(count)s allowed users", allowed)
        others = (
            unit_note(flag),
            rule_count_text(rules),
            users % {"count": local_number(allowed)} if allowed else "",
        )
        # The bar of a flag with rules would look like the share of all users, which 100 % may be.
        first: str = (
            rollout_bar(flag.rollout_percent, enabled=flag.enabled)
            if rules == 0 or FlagState.of(flag).is_for_everybody
            else _("%(percent)s %% of the others") % {"percent": flag.rollout_percent}
        )
        return two_lines(first, " · ".join(filter(None, others)))

    @admin.display(description=gettext_lazy("evaluated"), ordering=EVALUATED_ORDER)
    def evaluated(self, flag: FeatureFlag) -> SafeString:
        """The share of true results in 24 hours, and the time of the last evaluation.

        Says "never" only where an evaluation would have been counted.
        """
        facts = FlagList.facts_of(flag)
        usage = facts.usage
        last, to_browsers = usage.last_evaluated_at, usage.served_to_browsers_at
        if to_browsers is not None and (last is None or last < to_browsers):
            time, shown = time_cell(to_browsers), _titled(_("served to browsers"), _("in browsers"))
            return labelled_cell(_("evaluated"), two_lines(shown, time))
        if last is not None:
            share, time = _share(usage), time_cell(last)
            return labelled_cell(_("evaluated"), two_lines(share, time) if share else time)
        if usage.served_in_bulk_at is not None:
            text = _("Served in bulk on %(time)s. An evaluation of one key would be counted.")
            title = text % {"time": local_time_text(usage.served_in_bulk_at)}
            return labelled_cell(_("evaluated"), _titled(title, _("not known")))
        if facts.counted_since is None:
            return SafeString()
        text = _("Evaluations are counted since %(time)s.")
        title = text % {"time": local_time_text(facts.counted_since)}
        return labelled_cell(_("evaluated"), _titled(title, _("never")))

    # The first click shows the newest changes.
    @admin.display(description=gettext_lazy("changed"), ordering="-changed_at")
    def changed(self, flag: FeatureFlag) -> SafeString:
        """The newest change, its actor and its time; without a history, the time only."""
        facts = FlagList.facts_of(flag)
        shown = (
            changed_cell(flag)
            if facts.event is None
            else newest_change_cell(_change_text(facts.event), facts.event, facts.names)
        )
        return labelled_cell(_("changed"), shown)


def _anchor(flag: Any) -> str:
    """The id of the flag's row in the list. A primary key may be any text."""
    return f"flag-{quote(str(flag.pk), safe='')}"


def _change_text(event: Event) -> str:
    """The most important differences of an event, without the name of a user."""
    return _("created") if event.action == "create" else local_list(_parts(event), _MAX_PARTS)


def _parts(event: Event) -> Iterator[str]:
    by_name = {one.field: one for one in event.differences}
    for name in ("enabled", "rollout_percent"):
        if name in by_name:
            yield str(describe_difference(by_name.pop(name)))
    if count := event.added.count:
        text = ngettext("added %(count)s allowed user", "added %(count)s allowed users", count)
        yield text % {"count": local_number(count)}
    if count := event.removed.count:
        text = ngettext("removed %(count)s allowed user", "removed %(count)s allowed users", count)
        yield text % {"count": local_number(count)}
    yield from map(field_label, by_name)


def _share(usage: KeyUsage) -> SafeString:
    """The share of true results, with the number as a tooltip; empty without an evaluation."""
    count = usage.true_count + usage.false_count
    if not count:
        return SafeString()
    # Not rounded to 0 or 100 unless it is exactly that.
    percent = round(100 * usage.true_count / count)
    percent = min(max(percent, int(usage.true_count > 0)), 100 - int(usage.false_count > 0))
    text = ngettext(
        "%(count)s evaluation in %(hours)s hours",
        "%(count)s evaluations in %(hours)s hours",
        count,
    )
    title = text % {"count": local_number(count), "hours": int(RECENT.total_seconds()) // 3600}
    shown = _("%(percent)s %% true") % {"percent": percent}
    return _titled(title, shown)


def _titled(title: str, shown: str) -> SafeString:
    return format_html('<span title="{}">{}</span>', title, shown)


def unit_note(flag: Any) -> str:
    """Returns what the percentage of a flag counts, for the list; "" if it counts users."""
    unit = flag.bucket_by
    if unit == USER:
        return ""
    return _("of visitors") if unit == VISITOR else _("by %(unit)s") % {"unit": short_unit(unit)}


def rollout_bar(percent: int, *, enabled: bool) -> SafeString:
    """A percentage and a bar, grey if the flag is disabled."""
    html = (
        '<span class="flagstaff-percent"><progress class="flagstaff-bar{}" max="100" value="{}" '
        'aria-hidden="true"></progress> {} %</span>'
    )
    return format_html(html, "" if enabled else " flagstaff-bar-off", percent, percent)


def rule_count_text(count: int | None) -> str:
    """Returns the text of a list, such as "2 rules"; empty without rules."""
    if count is None:
        return _("unreadable rules")
    text = ngettext("%(count)s rule", "%(count)s rules", count)
    return text % {"count": local_number(count)} if count else ""
