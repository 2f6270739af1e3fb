"""The values that the rules of a value give: their inputs, and what was typed into them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from flagstaff._words.rule_parts import objects_in
from flagstaff._words.text import localized
from flagstaff._words.value_schema import ANY, ValueSchema, type_of, value_problem
from flagstaff.admin.forms import digest
from flagstaff.admin.json_fields import ValueField

#: The inputs: a menu of JSON texts, a number, a text without quotes, or JSON.
Input = Literal["select", "number", "text", "json"]

_NUMBERS = ("number", "integer")
_BOOLEANS = (True, False)
_JSON = ValueField(required=False)


class RuleValueError(ValueError):
    """The value of a rule cannot be saved. The message says what to correct."""


@dataclass(frozen=True)
class ValueRow:
    """The value of a rule as its input has it."""

    #: JSON, or a text without quotes.
    text: str = ""
    is_text: bool = False
    #: The digest of a stored value that an empty input keeps; empty without one.
    kept: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether a stored value is kept, because nothing was typed."""
        return bool(self.kept) and not self.text.strip()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed, and no stored value is kept."""
        return not self.text.strip() and not self.kept


@dataclass(frozen=True)
class RuleValues:
    """What the rules of one value can give."""

    schema: ValueSchema = ANY
    #: The type of the value itself, which its rules probably give, too; empty if it is not known.
    own_type: str = ""
    is_secret: bool = False
    #: The stored values of a secret's rules by digest: the page does not contain them.
    masked: Mapping[str, object] = field(default_factory=dict)

    @property
    def input(self) -> Input:
        """The input of a new rule."""
        if self.options:
            return "select"
        kind = self._type
        return "number" if kind in _NUMBERS else "text" if kind == "string" else "json"

    @property
    def _type(self) -> str:
        return self.schema.type or self.own_type

    @property
    def options(self) -> list[str]:
        """The JSON of each value to choose from; none if any other value is possible."""
        found: Iterable[object] = self.schema.choices
        if not found and self._type == "boolean":
            found = _BOOLEANS
        return [] if self.masked else [_text(one) for one in found]

    def new_row(self) -> ValueRow:
        """Returns the row of a new rule."""
        return ValueRow(is_text=self.input == "text")

    def row_of(self, value: object) -> ValueRow:
        """Returns the row of a value. A text that an input cannot hold is JSON."""
        if self.masked and (kept := digest_of(value)) in self.masked:
            return ValueRow(is_text=self.input == "text", kept=kept)
        if self.input == "text" and isinstance(value, str) and value.strip() and "\r" not in value:
            return ValueRow(value, is_text=True)
        return ValueRow(_text(value))

    def input_of(self, row: ValueRow) -> Input:
        """Returns the input that can show a row."""
        if row.is_text:
            return "text"
        chosen = self.input
        if chosen == "number" and row.text.strip() and not _is_number(row.text):
            return "json"
        return "json" if chosen == "text" else chosen

    def parse(self, row: ValueRow) -> Any:
        """Returns the value of a row. Raises RuleValueError."""
        if row.is_kept:
            if row.kept not in self.masked:
                raise RuleValueError(_("The hidden value was changed meanwhile. Type it again."))
            return self.masked[row.kept]
        if not row.text.strip():
            raise RuleValueError(_("Write the value that this rule gives."))
        try:
            # Browsers send other line ends than they show.
            text = row.text.replace("\r\n", "\n")
            value = _JSON.clean(_text(text) if row.is_text else row.text)
        except ValidationError as error:
            raise RuleValueError(_sentence(" ".join(error.messages))) from error
        if value is None:
            raise RuleValueError(_("A rule cannot give null. Write another value."))
        if problem := value_problem(value, self.schema, secret=self.is_secret):
            raise RuleValueError(_sentence(localized(problem)))
        return value


def digest_of(value: object) -> str:
    """Returns the digest by which a page names a value that it does not contain."""
    return digest("value", value)


def type_of_own(value: object) -> str:
    """Returns the type of a value as its row has it; empty without one."""
    return "" if value is None else type_of(value)


def masked_values(rules: object) -> dict[str, object]:
    """Returns the values of stored rules by digest."""
    found = [rule["value"] for rule in objects_in(rules) if "value" in rule]
    return {digest_of(value): value for value in found}


def _is_number(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return True  # It was typed into an input of numbers.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _sentence(text: str) -> str:
    end = "" if text.endswith("?") else "."
    return f"{text[0].upper()}{text[1:]}{end}"
