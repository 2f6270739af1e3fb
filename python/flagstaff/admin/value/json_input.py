"""The text area of a value: it marks a mistake, and asks before the type changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.widgets import AdminTextareaWidget

from flagstaff._words.json_text import why_undecodable

#: The name of the check box that confirms a new type.
NEW_TYPE = "_new_type"
# Characters of a line on each side of a mistake.
_AROUND = 30


@dataclass(frozen=True)
class Mistake:
    """The place of a mistake in a text."""

    line: int
    column: int
    #: The index in the text as a browser counts it.
    offset: int
    #: The line, or what is around the mistake, and a line with a caret below the mistake.
    excerpt: str


class JsonInput(AdminTextareaWidget):
    """A text area for the JSON of a value."""

    template_name = "flagstaff/json_input.html"
    mistake: Mistake | None = None
    #: The new type that the user has to confirm, and its name in words; empty without one.
    new_type = ""
    new_type_label = ""

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/values.css")}
        js = ("flagstaff/json_input.js",)

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the mistake and the question."""
        context = super().get_context(name, value, attrs)
        attributes = context["widget"]["attrs"]
        if self.mistake is not None:
            described = (
                f"{attributes.get('aria-describedby', '')} {attributes.get('id', name)}_mistake"
            )
            attributes["aria-describedby"] = described.strip()
        return {
            **context,
            "mistake": self.mistake,
            "new_type": self.new_type,
            "new_type_name": NEW_TYPE,
            "new_type_label": self.new_type_label,
        }


def mistake_in(text: str) -> Mistake | None:
    """Returns the place of the first mistake in a JSON text, or None."""
    # As in the text area of a browser, which sends other line ends.
    text = text.replace("\r\n", "\n")
    if why_undecodable(text):
        return None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-16-le", "replace")) // 2
        excerpt = _excerpt(text, error.lineno, error.colno)
        return Mistake(error.lineno, error.colno, offset, excerpt)
    return None


def _excerpt(text: str, line: int, column: int) -> str:
    whole = text.split("\n")[line - 1].replace("\t", " ")
    start = max(column - 1 - _AROUND, 0)
    end = column - 1 + _AROUND
    before = "…" if start else ""
    excerpt = f"{before}{whole[start:end]}{'…' if end < len(whole) else ''}"
    return f"{excerpt}\n{' ' * (column - 1 - start + len(before))}^"
