"""The rollout of a flag: a bar in the list, buttons for common percentages on the page."""

from __future__ import annotations

from typing import Any

from django.forms import NumberInput
from django.utils.html import format_html
from django.utils.safestring import SafeString

STEPS = (0, 1, 5, 25, 50, 100)


class RolloutInput(NumberInput):
    """A number input with a button for each common step of a rollout."""

    template_name = "flagstaff/rollout_input.html"
    #: Where a script asks for the impact of the form, and the impact that was counted without it.
    impact_url = ""
    impact_text = ""

    class Media:
        css = {"all": ("flagstaff/admin.css",)}
        js = ("flagstaff/rollout.js", "flagstaff/impact.js")

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the steps."""
        context = super().get_context(name, value, {"min": 0, "max": 100, **(attrs or {})})
        impact = {"impact_url": self.impact_url, "impact_text": self.impact_text}
        return {**context, **impact, "steps": STEPS}


def rollout_bar(percent: int, *, enabled: bool) -> SafeString:
    """A percentage and a bar, grey if the flag is disabled."""
    return format_html(
        '<span class="flagstaff-percent">{0} %</span>'
        '<progress class="flagstaff-bar{1}" max="100" value="{0}" aria-hidden="true"></progress>',
        percent,
        "" if enabled else " flagstaff-bar-off",
    )
