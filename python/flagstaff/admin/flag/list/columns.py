"""The columns of the list of flags."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.flag_states import FlagState
from flagstaff.admin.flag.form.bucket_unit import unit_note
from flagstaff.admin.flag.form.rollout import rollout_bar
from flagstaff.admin.flag.form.rules import count_rules, rule_count_text
from flagstaff.admin.flag.list.cells import (
    allowed_cell,
    evaluated_cell,
    flag_cell,
    newest_cell,
)
from flagstaff.admin.flag.list.facts import FlagList
from flagstaff.admin.flag.page.toggle import BACK
from flagstaff.admin.flag.parts.app_panels import app_notes
from flagstaff.admin.flag.state import (
    ALLOWED_COUNT,
    class_and_label,
    forced_off_notice,
    partial_rule_notices,
)
from flagstaff.admin.links import page_url
from flagstaff.admin.part import Part
from flagstaff.models import FeatureFlag

#: The id of the sentence that says why buttons are disabled.
WHY_NOT = "flagstaff-why-not"
#: The orders of columns that are sorted by an expression.
STATE_ORDER, EVALUATED_ORDER = "enabled", "flagstaff_evaluated"


class FlagColumns(Part):
    """The columns."""

    displays = ("flag", "state", "on_off", "rollout", "allowed", "evaluated", "changed")

    @admin.display(description=gettext_lazy("flag"), ordering="key")
    def flag(self, flag: FeatureFlag) -> SafeString:
        """The key, the description, the owner and the tags."""
        return flag_cell(flag, anchor(flag))

    @admin.display(description=gettext_lazy("state"), ordering=STATE_ORDER)
    def state(self, flag: FeatureFlag) -> SafeString:
        """A label for enabled, rollout and allowed users together."""
        css_class, text = class_and_label(flag)
        notes = (*partial_rule_notices(FlagState.of(flag)), app_notes(flag))
        return format_html(
            '<span class="flagstaff-state flagstaff-{}">{}</span> '
            '<span class="flagstaff-note">{}</span> '
            '<span class="flagstaff-description">{}</span>',
            css_class,
            text,
            format_html_join(" ", "{}", ((note,) for note in notes if note)),
            forced_off_notice(flag),
        )

    @admin.display(description=gettext_lazy("on/off"))
    def on_off(self, flag: FeatureFlag) -> SafeString:
        """A link to the page that turns the flag on, or kills it. Disabled without permission."""
        # The accessible name begins with the visible one.
        page, label, name = (
            ("kill", _("Kill…"), _("Kill… %(key)s"))
            if flag.enabled
            else ("turn_on", _("Turn on…"), _("Turn on… %(key)s"))
        )
        name %= {"key": flag.key}
        shown = FlagList.of(flag)
        if str(flag.pk) not in shown.toggled:
            return format_html(
                '<button type="button" class="button flagstaff-button" disabled aria-label="{}" '
                'aria-describedby="{}">{}</button>',
                name,
                WHY_NOT,
                label,
            )
        # Afterwards the browser returns to this row of the same list.
        back = urlencode({BACK: f"{shown.path}#{anchor(flag)}"})
        url = page_url(self.admin.admin_site, self.admin.model, page, flag.pk)
        return format_html(
            '<a class="button flagstaff-button" href="{}?{}" aria-label="{}">{}</a>',
            url,
            back,
            name,
            label,
        )

    @admin.display(description=gettext_lazy("rollout"), ordering="rollout_percent")
    def rollout(self, flag: FeatureFlag) -> SafeString:
        """The rollout as a percentage and a bar, a unit other than users, the number of rules."""
        return format_html(
            '{} <span class="flagstaff-note">{}</span> <span class="flagstaff-note">{}</span>',
            rollout_bar(flag.rollout_percent, enabled=flag.enabled),
            unit_note(flag),
            rule_count_text(count_rules(flag)),
        )

    @admin.display(description=gettext_lazy("allowed"), ordering=ALLOWED_COUNT)
    def allowed(self, flag: FeatureFlag) -> SafeString:
        """The number of allowed users."""
        return allowed_cell(getattr(flag, ALLOWED_COUNT))

    @admin.display(description=gettext_lazy("evaluated"), ordering=EVALUATED_ORDER)
    def evaluated(self, flag: FeatureFlag) -> SafeString:
        """The time of the last evaluation, and the share of true results in 24 hours."""
        return evaluated_cell(flag)

    # The first click shows the newest changes.
    @admin.display(description=gettext_lazy("changed"), ordering="-changed_at")
    def changed(self, flag: FeatureFlag) -> SafeString:
        """The newest change in a few words, its actor and its time."""
        return newest_cell(flag)


def anchor(flag: Any) -> str:
    """Returns the id of the flag's row in the list. A primary key may be any text."""
    return f"flag-{quote(str(flag.pk), safe='')}"
