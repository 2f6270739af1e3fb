"""The fields of a new plan: a row for each step and each guard, or the same as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms

from flagstaff._text import say
from flagstaff.admin.action_admin import ArgumentForm
from flagstaff.rollouts.guards import ERRORS, FUNCTION, LATENCY
from flagstaff.rollouts.verdict import REQUESTS, USERS

# The empty rows at the end: a page needs no script to have more of them.
_EMPTY_ROWS = 2


class LineForm(forms.Form):
    """The inputs of a line of the text."""

    heading: ClassVar[str]
    # Empty rows are left out.
    use_required_attribute = False

    @classmethod
    def texts_of(cls, line: str) -> dict[str, str]:
        """Returns the texts of the inputs."""
        raise NotImplementedError

    @classmethod
    def line_of(cls, texts: Mapping[str, str]) -> str:
        """Returns the line."""
        raise NotImplementedError


class StepForm(LineForm):
    """A step, such as "5:1h"."""

    heading = say("Step {number}")
    percent = forms.CharField(
        label=say("Percent").lazy, widget=forms.TextInput({"size": 3, "inputmode": "numeric"})
    )
    time = forms.CharField(label=say("Time").lazy, widget=forms.TextInput({"size": 6}))

    @classmethod
    def texts_of(cls, line: str) -> dict[str, str]:
        percent, _colon, time = line.partition(":")
        return {"percent": percent.strip(), "time": time.strip()}

    @classmethod
    def line_of(cls, texts: Mapping[str, str]) -> str:
        return f"{texts['percent']}:{texts['time']}".removesuffix(":")


class GuardForm(LineForm):
    """A guard, such as "latency=0.5,limit=2,action=hold"."""

    heading = say("Guard {number}")
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
        label=say("Seconds or path").lazy, widget=forms.TextInput({"spellcheck": "false"})
    )
    limit = forms.CharField(
        label=say("Limit").lazy,
        widget=forms.TextInput({"size": 3, "placeholder": "2", "inputmode": "decimal"}),
    )
    action = forms.ChoiceField(
        label=say("On trip").lazy,
        choices=[("rollback", say("rolls back").lazy), ("hold", say("holds the plan").lazy)],
    )

    @classmethod
    def texts_of(cls, line: str) -> dict[str, str]:
        target, *options = (part.strip() for part in line.split(","))
        kind, _equals, value = target.partition("=")
        named = dict(option.partition("=")[::2] for option in options)
        limit, action = named.get("limit", ""), named.get("action", "rollback")
        return {"kind": kind, "value": value, "limit": limit, "action": action}

    @classmethod
    def line_of(cls, texts: Mapping[str, str]) -> str:
        target = f"{texts['kind']}={texts['value']}".removesuffix("=")
        limit = f",limit={texts['limit']}" if texts["limit"] else ""
        return f"{target}{limit},action={texts['action']}"


class RowsWidget(forms.Textarea):
    """Rows for the lines of a text, and below them the text, which replaces all rows."""

    template_name = "flagstaff/plan_rows.html"

    def __init__(self, line: type[LineForm], text_help: object) -> None:
        super().__init__({"rows": 4, "spellcheck": "false", "autocapitalize": "none"})
        self._line, self._text_help = line, text_help

    def id_for_label(self, id_: str) -> str:
        """The first input of the first row."""
        return f"{id_}-0-{next(iter(self._line.base_fields))}"

    def value_from_datadict(
        self, data: Mapping[str, Any], files: Mapping[str, Any], name: str
    ) -> str:
        """The text that was typed, or that of the rows that are filled in."""
        if text := data.get(name):
            return str(text)
        lines, inputs = list[str](), self._line.base_fields
        while f"{name}-{len(lines)}-{next(iter(inputs))}" in data:
            place = f"{name}-{len(lines)}"
            texts = {key: data.get(f"{place}-{key}", "").strip() for key in inputs}
            # What happens on a trip is always chosen.
            is_filled = any(texts[key] for key in inputs if key != "action")
            lines.append(self._line.line_of(texts) if is_filled else "")
        return "\n".join(filter(None, lines))

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The context of the template. Lines that rows cannot show stay text."""
        lines = [line for line in str(value or "").splitlines() if line.strip()]
        is_text = not all(map(self._can_show, lines))
        filled = [] if is_text else map(self._line.texts_of, lines)
        shown = [*filled, *[{}] * _EMPTY_ROWS]
        rows = [
            (
                say(self._line.heading, number=number + 1).local,
                self._line(initial=texts, prefix=f"{name}-{number}", auto_id="id_%s"),
            )
            for number, texts in enumerate(shown)
        ]
        context = super().get_context(name, value if is_text else "", attrs)
        return {**context, "rows": rows, "is_text": is_text, "text_help": self._text_help}

    def _can_show(self, line: str) -> bool:
        """Whether the inputs have all that is in a line."""
        texts, fields = self._line.texts_of(line), self._line.base_fields
        is_offered = all(
            field.valid_value(texts[name])
            for name, field in fields.items()
            if isinstance(field, forms.ChoiceField)
        )
        written = _parts(self._line.line_of(texts))
        return is_offered and all(part in written for part in _parts(line))


def _parts(line: str) -> list[str]:
    """Returns what commas separate, without blanks."""
    return "".join(line.split()).split(",")


def prepare_fields(form: ArgumentForm) -> None:
    """Gives the arguments of a new plan labels, rows and a choice."""
    form.fields["key"].label = say("Flag").local
    form.fields["required_users"].label = say("Required users").local
    form.fields["ignore_releases"].label = say("Ignore releases").local
    short_helps = {
        "steps": say("Each is higher than the one before. A time is such as 30m, 1h or 1d12h."),
        "guards": say(
            "The limit says how many times as often users with the flag may fail as the others. A "
            "function is a path such as shop.guards.orders."
        ),
    }
    for (name, text), line in zip(short_helps.items(), (StepForm, GuardForm), strict=True):
        field = form.fields[name]
        field.widget, field.help_text = RowsWidget(line, field.help_text), text.local
    choices = [
        ("", say("users and requests").local),
        (USERS, say("users").local),
        (REQUESTS, say("requests").local),
    ]
    form.fields["compare"] = forms.TypedChoiceField(
        label=say("Compare").local, choices=choices, required=False, empty_value=None
    )
