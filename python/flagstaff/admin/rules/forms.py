"""The forms of rules and conditions: one row each, with the JSON that was typed into it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._stored_value_schema import value_schema_of
from flagstaff._tables.known_attributes import AttributeType
from flagstaff._words.rule_parts import IN_PLACES, sentence
from flagstaff._words.text import Text, joined
from flagstaff._words.value_schema import ANY, ValueSchema, type_of, value_problem
from flagstaff.actions.arguments import JsonField
from flagstaff.admin.rules.offers import Mark, Offer, mark_of
from flagstaff.validators import MAX_PERCENT, condition_problem

#: What is typed into the inputs of a row, by their names.
Texts: TypeAlias = dict[str, str]

_IS_MISSING, _IS_PRESENT = "isnull", "isnull:false"
# These operators are "isnull" with this value, and need no text.
_NULLS = {_IS_MISSING: True, _IS_PRESENT: False}
# In the order of the menu. A condition is true if one of its values matches.
_OPERATORS = {
    "in": gettext_lazy("is one of"),
    "contains": gettext_lazy("contains"),
    "startswith": gettext_lazy("starts with"),
    "endswith": gettext_lazy("ends with"),
    "regex": gettext_lazy("matches the pattern"),
    "lt": gettext_lazy("is less than"),
    "lte": gettext_lazy("is at most"),
    "gt": gettext_lazy("is more than"),
    "gte": gettext_lazy("is at least"),
    "version_lt": gettext_lazy("is a version before"),
    "version_gte": gettext_lazy("is this version or later"),
    _IS_MISSING: gettext_lazy("is missing"),
    _IS_PRESENT: gettext_lazy("is present"),
}
#: In rules as JSON.
JSON_OPERATORS = [name for name in _OPERATORS if name != _IS_PRESENT]
_MAX_NAME = 100
_VALUE = "value {number}"
# Inputs of one line that grow with their text; no browser changes what is typed into them.
_AREA = {"rows": 1, "cols": 20, "autocapitalize": "none", "spellcheck": "false"}
_NUMBERS = ("number", "integer")


class Row(forms.Form):
    """What is typed into a rule or a condition. Its cleaned data is JSON."""

    use_required_attribute = False

    def __init__(
        self, name: str, place: str, label: str, texts: Texts, **fields: forms.Field
    ) -> None:
        """Takes the name of the field with the rules, and the place, such as "0-1"."""
        prefix = f"{name}-{place}"
        super().__init__({f"{prefix}-{one}": text for one, text in texts.items()}, prefix=prefix)
        self.place, self.label, self.texts = place, label, texts
        self.fields |= fields
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = f"{label}: {field.label}"

    def focus(self) -> None:
        """Gives the focus to the first empty input."""
        names = (name for name in self.fields if name != "negate" and not self.texts.get(name))
        if first := next(names, None):
            self.fields[first].widget.attrs["autofocus"] = True


class RuleForm(Row):
    """A rule without its conditions."""

    name = forms.CharField(
        label=gettext_lazy("name"),
        required=False,
        max_length=_MAX_NAME,
        widget=forms.TextInput({"placeholder": gettext_lazy("name"), "autocomplete": "off"}),
    )
    rollout_percent = forms.IntegerField(
        label=gettext_lazy("rollout in percent"),
        required=False,
        min_value=0,
        max_value=MAX_PERCENT,
        widget=forms.NumberInput({"placeholder": MAX_PERCENT}),
    )

    def __init__(
        self, name: str, place: str, label: str, texts: Texts, values: RuleValues | None
    ) -> None:
        """Takes what the rules of a value can give; None for other rules."""
        self._values = values
        more = {} if values is None else {"value": values.field()}
        super().__init__(name, place, label, texts, **more)

    def clean_value(self) -> object:
        """Refuses what breaks the schema of the value."""
        value: object = self.cleaned_data["value"]
        if isinstance(value, str):
            # Browsers send other line ends than they show.
            value = value.replace("\r\n", "\n")
        if self._values and (problem := value_problem(value, self._values.schema)):
            raise ValidationError(sentence(problem))
        return value

    def clean(self) -> dict[str, Any]:
        """Returns the JSON, without what is not typed."""
        return {name: one for name, one in self.cleaned_data.items() if one not in ("", None)}


class ConditionForm(Row):
    """A condition on an attribute."""

    negate = forms.BooleanField(label=gettext_lazy("not"), required=False)
    attribute = forms.CharField(
        label=gettext_lazy("attribute"),
        max_length=_MAX_NAME,
        widget=forms.TextInput(
            {
                "placeholder": gettext_lazy("attribute"),
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    operator = forms.ChoiceField(label=gettext_lazy("operator"), choices=[*_OPERATORS.items()])
    values = forms.CharField(
        label=gettext_lazy("values"),
        required=False,
        widget=forms.Textarea({**_AREA, "placeholder": gettext_lazy("values")}),
    )

    def __init__(self, name: str, place: str, label: str, texts: Texts, offer: Offer) -> None:
        """Takes what the page offers."""
        texts = {"operator": "in", **texts}
        found = offer.attributes.get(texts.get("attribute", ""))
        is_bool = found is not None and found.type is AttributeType.BOOL
        has_menu = is_bool and texts["operator"] in {"in", *_NULLS}
        more = {"values": _bools(texts.get("values", ""))} if has_menu else {}
        super().__init__(name, place, label, texts, **more)
        self.fields["attribute"].widget.attrs["list"] = f"{name}-attributes"
        self._offer = offer
        #: What is typed, also if it is not valid.
        self.condition: dict[str, Any] = {**texts, "values": []}

    def clean(self) -> dict[str, Any]:
        """Returns the JSON. Refuses what workers cannot read."""
        if self.errors:
            return self.cleaned_data
        typed = self.cleaned_data
        operator, values = typed["operator"], list[object]()
        if operator in _NULLS:
            operator, values = _IS_MISSING, [_NULLS[operator]]
        else:
            try:
                values = parse_values(typed["values"], operator)
            except ValuesError as error:
                raise ValidationError({"values": sentence(str(error))}) from error
            if not values:
                raise ValidationError({"values": _("Write at least one value.")})
        self.condition = {
            "attribute": typed["attribute"],
            "operator": operator,
            "values": values,
            **({"negate": True} if typed["negate"] else {}),
        }
        if problem := condition_problem([self.condition]):
            raise ValidationError({"values": own_text(problem)})
        return self.condition

    def mark(self) -> Mark | None:
        """Returns why the condition cannot match, or only if a call passes the attribute."""
        return mark_of(self.condition, self._offer.attributes)

    def common_values(self) -> str:
        """Returns values that users have, as they are typed."""
        found = self._offer.common_values.get(self.texts.get("attribute", ""), [])
        return values_text(found, "in") if self.texts["operator"] == "in" else ""


def _bools(typed: str) -> forms.Field:
    """A menu for the values of a bool. What is not a choice stays, to be corrected."""
    choices = {"": _("choose"), "true": _("yes"), "false": _("no")}
    options = [*({typed: typed} | choices).items()]
    return forms.CharField(label=_("values"), required=False, widget=forms.Select(choices=options))


class SegmentForm(Row):
    """A condition that is a segment."""

    negate = ConditionForm.base_fields["negate"]
    segment = forms.ChoiceField(label=gettext_lazy("segment"))

    def __init__(self, name: str, place: str, label: str, texts: Texts, offer: Offer) -> None:
        """Takes what the page offers."""
        super().__init__(name, place, label, texts)
        # One that the user may not see stays.
        keys = dict.fromkeys(filter(None, [*offer.segments, texts["segment"]]))
        choices = [("", _("choose a segment")), *((key, key) for key in keys)]
        self.fields["segment"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Returns the JSON."""
        typed = self.cleaned_data
        return {**typed, "negate": True} if typed.pop("negate") else typed


@dataclass(frozen=True)
class RuleValues:
    """What the rules of a value can give. Without a type, that of the value itself is typed."""

    schema: ValueSchema = ANY
    own_type: str = ""

    @classmethod
    def of(cls, row: Any) -> RuleValues:
        """Returns what the rules of a row can give."""
        return cls(value_schema_of(row), type_of(row.value))

    @property
    def _type(self) -> str:
        return self.schema.type or self.own_type

    def text(self, value: object) -> str:
        """Returns the text of a value in its input."""
        is_text = self._type == "string" and not self.schema.choices and isinstance(value, str)
        return str(value) if is_text else json.dumps(value, ensure_ascii=False)

    def field(self) -> forms.Field:
        """Returns the input: a menu, a number, a text without quotes, or JSON."""
        label, kind = _("value"), self._type
        attrs: dict[str, Any] = {**_AREA, "placeholder": label}
        choices = self.schema.choices or ([True, False] if kind == "boolean" else [])
        if choices:
            texts = [*map(self.text, choices)]
            options = [("", _("choose")), *zip(texts, texts, strict=True)]
            return forms.TypedChoiceField(label=label, choices=options, coerce=json.loads)
        if kind == "string":
            return forms.CharField(label=label, strip=False, widget=forms.Textarea(attrs))
        if kind in _NUMBERS:
            step = {"step": "1" if self.schema.type == "integer" else "any"}
            return _JsonInput(label=label, widget=forms.NumberInput(step))
        attrs |= {"placeholder": _("value as JSON"), "class": "flagstaff-json"}
        return _JsonInput(label=label, widget=forms.Textarea(attrs))


class _JsonInput(JsonField):
    """JSON in a line of a rule."""

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """None beside those of the widget itself."""
        return {}


def texts_of_rule(rule: Mapping[str, Any], values: RuleValues | None) -> list[Texts]:
    """Returns the texts of a readable rule, and those of its conditions."""
    found = {name: str(rule[name]) for name in ("name", "rollout_percent") if name in rule}
    own = {name: _one_line(text) for name, text in found.items()}
    if values:
        own["value"] = values.text(rule["value"])
    return [own, *map(_texts_of_condition, rule["conditions"])]


def _texts_of_condition(condition: Mapping[str, Any]) -> Texts:
    negate = {"negate": "on"} if condition.get("negate") else {}
    if "segment" in condition:
        return {**negate, "segment": condition["segment"]}
    operator, values = condition["operator"], condition["values"]
    if operator == _IS_MISSING:
        operator = _IS_MISSING if values[0] else _IS_PRESENT
        text = ""
    else:
        text = values_text(values, operator)
    attribute = _one_line(condition["attribute"])
    return {**negate, "attribute": attribute, "operator": operator, "values": text}


def _one_line(text: str) -> str:
    """A browser removes line breaks from an input, too."""
    return text.replace("\r", "").replace("\n", "")


def own_text(problem: Text) -> str:
    """Returns the problem of a row as a sentence, without the numbers of rule and condition."""
    places, text = problem.values.get("places"), problem.values.get("problem")
    if not isinstance(places, Text) or not isinstance(text, Text):
        return sentence(problem)
    shown = [*_values_in(places)]
    return sentence(Text(IN_PLACES, places=joined(shown), problem=text) if shown else text)


def _values_in(places: Text) -> Iterator[Text]:
    for place in places.values.values():
        if isinstance(place, Text) and place.english == _VALUE:
            yield place


# The values of a condition as the text of an input, and back.

# These operators have no other values than texts: 1.10 is a version, and no number.
_TEXT_OPERATORS = frozenset(
    ("contains", "startswith", "endswith", "regex", "version_lt", "version_gte")
)
_PATTERN = "regex"


def _item(separators: str) -> re.Pattern[str]:
    """Matches a quoted value and what follows it, or a bare value, up to a separator."""
    quoted = r'("(?:[^"\\]|\\.)*")'
    other = f"([^{separators}]*)"
    return re.compile(rf"\s*(?:{quoted}{other}|{other})(?:[{separators}]|\Z)", re.DOTALL)


_ITEM, _LINE = _item(r",\r\n"), _item(r"\r\n")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "false": False}
_CONTROL = re.compile(r"[\x00-\x1f]")
# The length of a value in a message.
_MAX_SHOWN = 40


class ValuesError(ValueError):
    """A text has no list of values. The message says what to correct."""


def values_text(values: Sequence[object], operator: str) -> str:
    """Returns the text of values: as short as possible, with quotes where they are needed."""
    separator = "\n" if operator == _PATTERN else ", "
    return separator.join(_value_text(value, operator) for value in values)


def parse_values(text: str, operator: str) -> list[object]:
    """Returns the values of a text. Raises ValuesError."""
    items = (_LINE if operator == _PATTERN else _ITEM).finditer(text)
    values = (_parsed(item, operator) for item in items)
    return [value for value in values if value is not None]


def _value_text(value: object, operator: str) -> str:
    is_plain = isinstance(value, str) and _is_plain(value, operator)
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str, operator: str) -> bool:
    """Whether the text means itself without quotes."""
    if _CONTROL.search(value) or value.startswith('"') or value != value.strip() or not value:
        return False
    if operator != _PATTERN and "," in value:
        return False
    return operator in _TEXT_OPERATORS or isinstance(_typed(value), str)


def _parsed(item: re.Match[str], operator: str) -> object:
    """The value of an item; None for an empty one."""
    quoted, rest, bare = item.groups(default="")
    if quoted:
        value = _decoded(quoted)
        if rest.strip():
            text = _("there is text after %(value)s; separate values by commas")
            raise ValuesError(text % {"value": quoted[:_MAX_SHOWN]})
        return value
    bare = bare.strip()
    if bare.startswith('"'):
        raise ValuesError(_("a quotation mark is not closed; add one after the value"))
    return (bare if operator in _TEXT_OPERATORS else _typed(bare)) if bare else None


def _decoded(quoted: str) -> str:
    try:
        text: str = json.loads(quoted, strict=False)
        text.encode()  # Raises UnicodeEncodeError for half of a surrogate pair.
    except ValueError as error:
        message = _("%(value)s has an escape that is not a character; write \\\\ for one \\")
        raise ValuesError(message % {"value": quoted[:_MAX_SHOWN]}) from error
    return text


def _typed(bare: str) -> object:
    """A number or a bool if the text is one, else the text."""
    if bare in _BOOLS:
        return _BOOLS[bare]
    if not _NUMBER.fullmatch(bare):
        return bare
    try:
        number: object = json.loads(bare)
    except ValueError:  # Python decodes no integer of more than 4,300 digits.
        return bare
    return bare if isinstance(number, float) and math.isinf(number) else number
