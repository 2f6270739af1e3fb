"""The forms of rules and conditions, and what their fields offer: values, segments, flags, buckets.

Each row has the JSON that was typed into it, and a mark if a condition cannot match, or only if a
call passes its attribute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.text import capfirst

from flagstaff._core import is_storable
from flagstaff._tables.attributes import (
    GROUPS,
    Attribute,
    AttributeType,
    ObjectReader,
    Objects,
    impossible_value,
    known_attributes,
    known_objects,
    named,
    similar_attribute,
)
from flagstaff._tables.database import db
from flagstaff._tables.rows import shown_keys
from flagstaff._tables.user_lookup import can_read_groups, group_names, missing_groups
from flagstaff._text import local_list, localized, quoted, say, scalar_of
from flagstaff._text.rules import ObjectNames, groups_of, new_conditions, sentence
from flagstaff.actions.arguments import JsonField
from flagstaff.admin.rights import admin_of, object_reader
from flagstaff.admin.rules.sentences import shown_segments
from flagstaff.changes.rule_use import bucket_names
from flagstaff.conf import conf
from flagstaff.history.describe import may_see_users
from flagstaff.validators import MAX_PERCENT

# The values that a row lists, and the groups that a message lists.
_MAX_VALUES, _MAX_GROUPS = 20, 5
# The objects that a row offers.
_MAX_SIMILAR = 10


class Offer:
    """What the editor offers to the user of a request. Queries when a page needs it."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site, self._request = site, request

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """The attributes that are known without a call."""
        return known_attributes()

    @cached_property
    def objects(self) -> Mapping[str, Objects]:
        """The attributes that hold primary keys of objects."""
        return known_objects()

    @cached_property
    def reader(self) -> ObjectReader:
        """The names of the objects that the user may see."""
        return object_reader(self._site, self._request)

    def similar_objects(self, attribute: str, text: str) -> list[str]:
        """Returns the first objects that Django's autocomplete finds, as they are typed."""
        objects = self.objects.get(attribute)
        rows = None if objects is None else self.reader.rows_of(objects.model)
        model_admin = None if objects is None else admin_of(self._site, objects.model)
        if objects is None or rows is None or model_admin is None or not is_storable(text):
            return []
        if model_admin.get_search_fields(self._request):
            rows, _may_repeat = model_admin.get_search_results(self._request, rows, text)
        else:
            rows = rows.filter(**{f"{objects.label}__icontains": text})
        pairs = rows.order_by(objects.label).values_list(objects.label, "pk").distinct()
        return [named(name, pk) for name, pk in pairs[:_MAX_SIMILAR]]

    @property
    def has_groups(self) -> bool:
        """Whether rules can read groups."""
        return can_read_groups(db.alias)

    @cached_property
    def segments(self) -> list[str]:
        """The keys of the segments that the user may see."""
        return shown_segments(self._site, self._request)

    @cached_property
    def flags(self) -> list[str]:
        """The keys of the flags that the user may see."""
        return shown_keys(conf.flag_model)

    @cached_property
    def buckets(self) -> list[str]:
        """The names of the buckets that rules use, which the user may see."""
        return bucket_names()

    @cached_property
    def _groups(self) -> Sequence[str]:
        """The first groups for who may see users: their names may say who is in them."""
        may_see = may_see_users(self._request.user)
        return group_names(db.alias, _MAX_VALUES) if may_see else []

    def common_values(self, name: str) -> Sequence[object]:
        """Returns the values of an attribute that are known without a look at any user."""
        if name == GROUPS:
            return self._groups
        attribute = self.attributes.get(name)
        if attribute is None or attribute.field is None:
            return []
        values = [value for value, _label in attribute.field.flatchoices]
        # A field of a project may have any objects.
        values = [value for value in values if isinstance(value, str | int) and value != ""]
        return values[:_MAX_VALUES]


# Marks: a condition that cannot match, or only if a call passes its attribute.


class Mark(NamedTuple):
    """What the editor says about a condition."""

    text: str
    #: Whether the condition can never match, so that it cannot be saved.
    is_error: bool


def mark_of(condition: Mapping[str, Any], attributes: Mapping[str, Attribute]) -> Mark | None:
    """Returns the mark of a condition; None if there is nothing to say.

    `attributes` are the known ones.
    """
    name = condition.get("attribute")
    if not isinstance(name, str) or not name:
        return None
    if impossible := impossible_value(condition, attributes):
        return Mark(sentence(impossible.problem), is_error=impossible.is_certain)
    return None if name in attributes else Mark(_unknown_text(name), is_error=False)


def rule_notes(rules: object) -> list[str]:
    """Returns what a person should know of rules, or of conditions in place of rules. Queries.

    Marks, which begin with the places of the rules, and groups that do not exist.
    """
    attributes, notes = known_attributes(), list[str]()
    for place, condition in new_conditions(rules):
        mark = mark_of(condition, attributes)
        # An error is refused.
        if mark is not None and not mark.is_error:
            notes.append(f"{capfirst(localized(place))}: {mark.text}" if place else mark.text)
    if missing := missing_groups(groups_of(rules), db.alias):
        notes.append(
            say(
                "No user is in this group, because it does not exist: {names}. Create it, or "
                "correct its name.",
                "No user is in these groups, because they do not exist: {names}. Create them, or "
                "correct their names.",
                count=len(missing),
                names=local_list((quoted(name) for name in missing), _MAX_GROUPS),
            ).local
        )
    return [*dict.fromkeys(notes)]


def _unknown_text(name: str) -> str:
    text = say(
        "No count includes users who are selected only by {name}, because it is not stored: only "
        "the application knows it and passes it as “context”.",
        name=quoted(name),
    )
    if conf.attributes.callable:
        text = say(
            "No count includes users who are selected only by {name}, because it is not stored: "
            "only the application knows it and passes it as “context”, or {function} returns it.",
            name=quoted(name),
            function=quoted(conf.attributes.callable),
        )
    if similar := similar_attribute(name):
        question = say("Did you mean “{name}”?", name=similar)
        return f"{question.local} {text.local}"
    return text.local


#: What is typed into the inputs of a row, by their names; of a rule also the rows of its
#: "conditions". "focus" is what gets the focus: the input that is empty, or the button named here.
Texts: TypeAlias = dict[str, Any]

#: What the values of an attribute are called that is true or false.
YES_NO = {"true": say("yes").lazy, "false": say("no").lazy}
_EQUALS, _IS_NULL, _PATTERN = "in", "isnull", "regex"
# These operators are "isnull" with this value, and need no text.
_NULLS = {_IS_NULL: True, "isnull:false": False}
# In the order of the menu. A condition is true if one of its values matches.
_OPERATORS = {
    "in": say("is one of").lazy,
    "contains": say("contains").lazy,
    "startswith": say("starts with").lazy,
    "endswith": say("ends with").lazy,
    _PATTERN: say("matches the pattern").lazy,
    "lt": say("is less than").lazy,
    "lte": say("is at most").lazy,
    "gt": say("is more than").lazy,
    "gte": say("is at least").lazy,
    "version_eq": say("is this version").lazy,
    "version_lt": say("is a version before").lazy,
    "version_lte": say("is this version or before").lazy,
    "version_gt": say("is a version after").lazy,
    "version_gte": say("is this version or later").lazy,
    _IS_NULL: say("is missing").lazy,
    "isnull:false": say("is present").lazy,
}
#: In rules as JSON.
JSON_OPERATORS = [name for name in _OPERATORS if ":" not in name]
# The values of the others are texts: 1.10 is a version, and no number.
_TYPED_OPERATORS = ("in", "lt", "lte", "gt", "gte")
_VALUE = "value"
_MAX_NAME = 100
# Inputs of one line that grow with their text; no browser changes what is typed into them.
_VERBATIM = {"autocapitalize": "none", "spellcheck": "false"}
_AREA = {"rows": 1, "cols": 20, **_VERBATIM}
_LINE_BREAK = re.compile(r"[\r\n]")
# The length of a value in a message.
_MAX_SHOWN = 40


class Row(forms.Form):
    """What is typed into a rule or a condition. Its cleaned data is JSON; empty if it is blank."""

    use_required_attribute = False

    def __init__(self, name: str, place: str, label: str, texts: Texts) -> None:
        """Takes the name of the field with the rules, and the place, such as "0-1"."""
        prefix = f"{name}-{place}"
        data = {f"{prefix}-{field_name}": text for field_name, text in texts.items()}
        super().__init__(data, prefix=prefix, empty_permitted=True)
        self.place, self.label, self.texts = place, label, texts
        self.focus = texts.get("focus", "")
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = f"{label}: {field.label}"
        empty = (
            field_name
            for field_name in self.fields
            if field_name != "negate" and not texts.get(field_name)
        )
        focused = next(empty, None) if self.focus == "input" else self.focus
        if focused in self.fields:
            self.fields[focused].widget.attrs["autofocus"] = True

    def _choose(self, name: str, labels: Mapping[str, object]) -> None:
        """Replaces an input by a choice; the labels are by what is typed."""
        attrs = self.fields[name].widget.attrs
        kept = {attr: attrs[attr] for attr in ("aria-label", "autofocus") if attr in attrs}
        self.fields[name].widget = forms.Select(kept, choices=[*labels.items()])


class RuleForm(Row):
    """A rule without its conditions."""

    name = forms.CharField(
        label=say("name").lazy,
        required=False,
        max_length=_MAX_NAME,
        widget=forms.TextInput({"placeholder": say("name").lazy, "autocomplete": "off"}),
    )
    rollout_percent = forms.IntegerField(
        label=say("rollout in percent").lazy,
        required=False,
        min_value=0,
        max_value=MAX_PERCENT,
        widget=forms.NumberInput({"placeholder": MAX_PERCENT}),
    )

    def clean(self) -> dict[str, Any]:
        """Returns the JSON, without what is not typed."""
        typed = self.cleaned_data.items()
        return {name: value for name, value in typed if name == _VALUE or value not in ("", None)}


class ValueRuleForm(RuleForm):
    """A rule of a value without its conditions."""

    value = JsonField(
        label=say("value").lazy,
        widget=forms.Textarea(
            {**_AREA, "placeholder": say("value as JSON").lazy, "class": "flagstaff-json"}
        ),
    )

    def offer(self, results: Mapping[str, object]) -> None:
        """Offers the values that are allowed, by their JSON; all values, if there are none."""
        if results:
            typed = self.texts.get(_VALUE, "")
            # One that is stored or typed stays.
            others = {typed: typed} if typed and typed not in results else {}
            self._choose(_VALUE, {"": "\N{EN DASH}", **results, **others})


class ConditionForm(Row):
    """A condition on an attribute."""

    negate = forms.BooleanField(label=say("not").lazy, required=False)
    attribute = forms.CharField(
        label=say("attribute").lazy,
        max_length=_MAX_NAME,
        widget=forms.TextInput(
            {"placeholder": say("attribute").lazy, "autocomplete": "off", **_VERBATIM}
        ),
    )
    operator = forms.ChoiceField(
        label=say("operator").lazy, choices=[*_OPERATORS.items()], initial="in"
    )
    values = forms.CharField(
        label=say("values").lazy,
        required=False,
        widget=forms.Textarea({**_AREA, "placeholder": say("values").lazy}),
    )

    def __init__(self, name: str, place: str, label: str, texts: Texts, offer: Offer) -> None:
        """Takes what the page offers."""
        texts = {"operator": "in", **texts}
        known = offer.attributes.get(texts.get("attribute", ""))
        self._is_yes_or_no = (
            known is not None
            and known.type is AttributeType.BOOL
            and texts["operator"] == _EQUALS
            and texts.get("values", "") in ("", *YES_NO)
        )
        if self._is_yes_or_no:
            # As the choice shows it.
            texts["values"] = texts.get("values") or "true"
        super().__init__(name, place, label, texts)
        self.fields["attribute"].widget.attrs["list"] = f"{name}-attributes"
        self._offer = offer
        if self._is_yes_or_no:
            self._choose("values", YES_NO)
        #: What is typed, also if it is not valid.
        self.condition: dict[str, Any] = {**self.texts, "values": []}

    def clean_values(self) -> list[object]:
        """Parses the values."""
        if self.errors:
            return []
        operator = self.cleaned_data["operator"]
        if operator in _NULLS:
            return [_NULLS[operator]]
        values = parse_values(self.cleaned_data["values"], operator)
        if not values:
            raise ValidationError(say("Write at least one value.").local)
        is_named = operator == _EQUALS
        attribute = self.cleaned_data["attribute"]
        return self._offer.reader.keys(attribute, values) if is_named else values

    def clean(self) -> dict[str, Any]:
        """Returns the JSON."""
        typed = self.cleaned_data
        if self.errors:
            return typed
        self.condition = {
            "attribute": typed["attribute"],
            "operator": _IS_NULL if typed["operator"] in _NULLS else typed["operator"],
            "values": typed["values"],
            **({"negate": True} if typed["negate"] else {}),
        }
        return self.condition

    def mark(self) -> Mark | None:
        """Returns why the condition cannot match, or only if a call passes the attribute."""
        return mark_of(self.condition, self._offer.attributes)

    def similar_objects(self) -> list[str]:
        """Returns objects that the last value may mean, as they are typed."""
        if self.texts["operator"] != _EQUALS:
            return []
        *_others, last = ["", *_items_of(self.texts.get("values", ""), _EQUALS)]
        return self._offer.similar_objects(self.texts.get("attribute", ""), last)

    def common_values(self) -> str:
        """Returns values that users can have, as they are typed."""
        values = self._offer.common_values(self.texts.get("attribute", ""))
        is_shown = self.texts["operator"] == "in" and not self._is_yes_or_no
        return values_text(values, "in") if is_shown else ""


class SegmentForm(Row):
    """A condition that is a segment."""

    negate = ConditionForm.base_fields["negate"]
    segment = forms.ChoiceField(label=say("segment").lazy)

    def __init__(self, name: str, place: str, label: str, texts: Texts, offer: Offer) -> None:
        """Takes what the page offers."""
        super().__init__(name, place, label, texts)
        # One that the user may not see stays.
        keys = dict.fromkeys(filter(None, [*offer.segments, texts["segment"]]))
        choices = [("", say("choose a segment").local), *((key, key) for key in keys)]
        self.fields["segment"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Returns the JSON."""
        return {name: value for name, value in self.cleaned_data.items() if value is not False}


class FlagForm(Row):
    """A condition on another flag."""

    flag = forms.ChoiceField(label=say("flag").lazy)
    state = forms.ChoiceField(
        label=say("state").lazy,
        choices=[("on", say("is on").lazy), ("off", say("is off").lazy)],
    )

    def __init__(self, name: str, place: str, label: str, texts: Texts, offer: Offer) -> None:
        """Takes what the page offers."""
        super().__init__(name, place, label, {"state": "on", **texts})
        # One that the user may not see stays.
        keys = dict.fromkeys(filter(None, [*offer.flags, texts["flag"]]))
        choices = [("", say("choose a flag").local), *((key, key) for key in keys)]
        self.fields["flag"].choices = choices  # type: ignore[attr-defined]

    def has_changed(self) -> bool:
        """Whether a flag is chosen."""
        return bool(self.texts["flag"])

    def clean(self) -> dict[str, Any]:
        """Returns the JSON."""
        typed = self.cleaned_data
        return typed if self.errors else {"flag": typed["flag"], "is": typed["state"] == "on"}


class BucketForm(Row):
    """A condition on a bucket."""

    negate = ConditionForm.base_fields["negate"]
    bucket = forms.CharField(
        label=say("name of the bucket").lazy,
        widget=forms.TextInput(
            {"placeholder": say("name of the bucket").lazy, "autocomplete": "off", **_VERBATIM}
        ),
    )
    operator = forms.ChoiceField(
        label=say("operator").lazy,
        choices=[("lt", say("below").lazy), ("gte", say("from").lazy)],
    )
    values = forms.DecimalField(
        label=say("percent").lazy, min_value=0, max_value=MAX_PERCENT, decimal_places=2
    )

    def __init__(self, name: str, place: str, label: str, texts: Texts, offer: Offer) -> None:
        """Takes what the page offers."""
        super().__init__(name, place, label, {"operator": "lt", **texts})
        self.fields["bucket"].widget.attrs["list"] = f"{name}-buckets"
        self._offer = offer

    def has_changed(self) -> bool:
        """Whether a name or a number is typed."""
        return bool(self.texts["bucket"] or self.texts.get("values"))

    def clean(self) -> dict[str, Any]:
        """Returns the JSON."""
        typed = self.cleaned_data
        if self.errors:
            return typed
        # As it is typed: 5 and 5.0 are not the same JSON. A browser accepts 1e-1, too.
        is_fraction = "." in self.texts["values"] or typed["values"] % 1
        number = float if is_fraction else int
        return {
            "bucket": typed["bucket"],
            "operator": typed["operator"],
            "values": [number(typed["values"])],
            **({"negate": True} if typed["negate"] else {}),
        }


#: The forms of conditions by the input that only they have; the last one is that of all others.
CONDITION_FORMS: Mapping[str, Any] = {
    "segment": SegmentForm,
    "flag": FlagForm,
    "bucket": BucketForm,
    "attribute": ConditionForm,
}


def with_object(text: str, picked: str) -> str:
    """Returns typed values, of which the last one is replaced by the object that it means."""
    return ", ".join([*_items_of(text, _EQUALS)[:-1], values_text([picked], _EQUALS)])


def texts_of_rule(rule: Mapping[str, Any], names: ObjectNames) -> Texts:
    """Returns the texts of a readable rule, with those of its conditions."""
    texts = {name: _one_line(rule[name]) for name in ("name", "rollout_percent") if name in rule}
    if _VALUE in rule:
        texts[_VALUE] = json.dumps(rule[_VALUE], ensure_ascii=False)
    conditions = [_texts_of_condition(condition, names) for condition in rule["conditions"]]
    return texts | {"conditions": conditions}


def _texts_of_condition(condition: Mapping[str, Any], names: ObjectNames) -> Texts:
    negate = {"negate": "on"} if condition.get("negate") else {}
    if "segment" in condition:
        return {**negate, "segment": condition["segment"]}
    if "flag" in condition:
        return {"flag": condition["flag"], "state": "on" if condition["is"] else "off"}
    if "bucket" in condition:
        name, [bound] = _one_line(condition["bucket"]), condition["values"]
        operator = condition["operator"]
        return {**negate, "bucket": name, "operator": operator, "values": json.dumps(bound)}
    operator, values = condition["operator"], condition["values"]
    if operator == _IS_NULL:
        operator, values = next(name for name in _NULLS if _NULLS[name] is values[0]), []
    elif operator == _EQUALS:
        of_values = zip(values, names(condition["attribute"], values), strict=True)
        values = [value if name is None else named(name, value) for value, name in of_values]
    return {
        **negate,
        "attribute": _one_line(condition["attribute"]),
        "operator": operator,
        "values": values_text(values, operator),
    }


def _one_line(text: object) -> str:
    """A browser removes line breaks from an input, too."""
    return _LINE_BREAK.sub("", str(text))


# The values of a condition as the text of an input, and back.


def _item(separators: str) -> re.Pattern[str]:
    """Matches a value up to a separator that does not stand in quotes."""
    other = f"[^{separators}]*"
    return re.compile(rf'\s*("(?:[^"\\]|\\.)*"{other}|{other})(?:[{separators}]|\Z)', re.DOTALL)


_ITEM, _LINE = _item(r",\r\n"), _item(r"\r\n")


def values_text(values: Sequence[object], operator: str) -> str:
    """Returns the text of values: as short as possible, with quotes where they are needed."""
    separator = "\n" if operator == _PATTERN else ", "
    return separator.join(_value_text(value, operator) for value in values)


def _value_text(value: object, operator: str) -> str:
    if isinstance(value, str):
        with suppress(ValidationError):
            if parse_values(value, operator) == [value]:
                return value
    return json.dumps(value, ensure_ascii=False)


def parse_values(text: str, operator: str) -> list[object]:
    """Returns the values of a text. Raises ValidationError."""
    return [_parsed(item, operator) for item in _items_of(text, operator)]


def _items_of(text: str, operator: str) -> list[str]:
    items = (_LINE if operator == _PATTERN else _ITEM).findall(text)
    return [item for item in map(str.strip, items) if item]


def _parsed(item: str, operator: str) -> object:
    """Returns the number, the bool or the text that a value is."""
    is_quoted = item.startswith('"')
    value = scalar_of(item) if is_quoted or operator in _TYPED_OPERATORS else item
    if is_quoted and value == item:
        raise ValidationError(
            say(
                "{value} is not a text in double quotes; close the quotation mark, write a comma "
                "before the next value, and \\\\ for one \\",
                value=item[:_MAX_SHOWN],
            ).local
        )
    return item if value is None else value
