"""The fields of a new plan: a row for each step and each guard, or the same as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms

from flagstaff._text import say
from flagstaff.admin.action_page import ArgumentForm
from flagstaff.rollouts.steps_and_guards import ERRORS, FUNCTION, LATENCY
from flagstaff.rollouts.verdict import REQUESTS, USERS

# The empty rows at the end: a page needs no script to have more of them.
_EMPTY_ROWS = 2


class _Row(forms.Form):
    """The inputs of a line."""

    use_required_attribute = False
    pattern: ClassVar[re.Pattern[str]]
    #: What stands before each input in the line.
    signs: ClassVar[Mapping[str, str]]


class _StepRow(_Row):
    """A step, such as "5:1h"."""

    pattern = re.compile("(?P<percent>[^:]+)(?::(?P<time>[^:]+))?")
    signs: ClassVar = {"percent": "", "time": ":"}
    percent = forms.CharField(
        label=say("Percent").lazy, widget=forms.TextInput({"size": 3, "inputmode": "numeric"})
    )
    time = forms.CharField(label=say("Time").lazy, widget=forms.TextInput({"size": 6}))


class _GuardRow(_Row):
    """A guard, such as "latency=0.5,limit=2,action=hold"."""

    pattern = re.compile(
        f"(?P<kind>{ERRORS}|{LATENCY}|{FUNCTION})(?:=(?P<value>[^=,]+))?"
        "(?:,limit=(?P<limit>[^=,]+))?(?:,action=(?P<action>rollback|hold))?"
    )
    signs: ClassVar = {"kind": "", "value": "=", "limit": ",limit=", "action": ",action="}
    kind = forms.ChoiceField(
        label=say("Guard").lazy,
        choices=[
            ("", "\N{EN DASH}"),
            (ERRORS, say("errors").lazy),
            (LATENCY, say("latency over (seconds)").lazy),
            (FUNCTION, say("function (path)").lazy),
        ],
    )
    value = forms.CharField(
        label=say("Seconds or path (none for errors)").lazy,
        widget=forms.TextInput({"size": 14, "spellcheck": "false"}),
    )
    limit = forms.CharField(
        label=say("Limit").lazy,
        widget=forms.TextInput({"size": 3, "placeholder": "2", "inputmode": "decimal"}),
    )
    action = forms.ChoiceField(
        label=say("On trip").lazy,
        choices=[("rollback", say("rolls back to 0 %").lazy), ("hold", say("holds the plan").lazy)],
    )


class _LinesWidget(forms.Textarea):
    """Rows for the lines of a text, and below them the text, which replaces all rows."""

    template_name = "flagstaff/plan_rows.html"

    def __init__(self, row: type[_Row], heading: str, text_help: object) -> None:
        super().__init__({"rows": 4, "spellcheck": "false", "autocapitalize": "none"})
        self._row, self._heading, self._text_help = row, heading, text_help

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> str:
        """The text that was typed, or that of the rows that are filled in."""
        if text := data.get(name):
            return str(text)
        lines, signs = list[str](), self._row.signs
        while (place := f"{name}-{len(lines)}") + f"-{next(iter(signs))}" in data:
            texts = {key: data.get(f"{place}-{key}", "").strip() for key in signs}
            # What happens on a trip is always chosen.
            is_filled = any(texts[key] for key in signs if key != "action")
            line = "".join(signs[key] + text for key, text in texts.items() if text)
            lines.append(line if is_filled else "")
        return "\n".join(filter(None, lines))

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template. Lines that rows cannot show stay text."""
        lines = ["".join(line.split()) for line in str(value or "").splitlines()]
        matches = [self._row.pattern.fullmatch(line) for line in lines if line]
        texts = [match.groupdict("") for match in matches if match]
        is_text = len(texts) < len(matches)
        shown = [*([] if is_text else texts), *[{}] * _EMPTY_ROWS]
        rows = [
            (
                say(self._heading, number=number + 1).local,
                self._row(initial=initial, prefix=f"{name}-{number}"),
            )
            for number, initial in enumerate(shown)
        ]
        context = super().get_context(name, value if is_text else "", attrs)
        return {**context, "rows": rows, "is_text": is_text, "text_help": self._text_help}


def prepare_fields(form: ArgumentForm) -> None:
    """Gives the arguments of a new plan labels, rows and a choice."""
    form.fields["key"].label = say("Flag").local
    form.fields["required_users"].label = say("Required users").local
    form.fields["ignore_releases"].label = say("Continue a step after a new build").local
    for name, row, heading, text in (
        (
            "steps",
            _StepRow,
            say("Step {number}"),
            say("Each is higher than the one before. A time is such as 30m, 1h or 1d12h."),
        ),
        (
            "guards",
            _GuardRow,
            say("Guard {number}"),
            say(
                "The limit says how many times as often users with the flag may fail as the "
                "others. A function is a path such as shop.guards.orders."
            ),
        ),
    ):
        field = form.fields[name]
        field.widget, field.help_text = _LinesWidget(row, heading, field.help_text), text.local
    choices = [
        ("", say("users and requests").local),
        (USERS, say("users").local),
        (REQUESTS, say("requests").local),
    ]
    form.fields["compare"] = forms.TypedChoiceField(
        label=say("What the guards compare").local,
        choices=choices,
        required=False,
        empty_value=None,
        help_text=say(
            "Users: how many of them have failed. Requests: how many of their requests have "
            "failed, which is fairer if users with the flag make more of them. With both, either "
            "can show harm."
        ).local,
    )
