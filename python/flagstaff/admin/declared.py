"""What code declares, on the pages: the part of a list, and the input of a declared value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AdminDateWidget
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.safestring import SafeString

from flagstaff._declared import DECLARED, Value, declared_value
from flagstaff._tables.rows import all_rows, declaration, declared_row, is_stored
from flagstaff._tables.states import AS_DECLARED, DEFAULT
from flagstaff._text import TextError, say
from flagstaff.actions.arguments import JsonField
from flagstaff.actions.values import read_declared
from flagstaff.admin.links import page_url, row_id
from flagstaff.admin.rights import may
from flagstaff.admin.words import json_html, key_link, short, two_lines
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.validators import is_secret

# Django's field for each type.
_FIELDS: dict[type, Callable[[], forms.Field]] = {
    int: forms.IntegerField,
    float: forms.FloatField,
    # A text of several lines stays one, with its blanks.
    str: partial(forms.CharField, strip=False, widget=forms.Textarea({"rows": 3})),
    Decimal: forms.DecimalField,
    date: forms.DateField,
    datetime: forms.DateTimeField,
    timedelta: forms.DurationField,
    list: JsonField,
    dict: JsonField,
}

# The suffix of the name of the box for no value.
_NO_VALUE = "none"
#: The cells of a row: the key with the description, and the state or the value.
Cells = tuple[SafeString, object]


def declared_groups(
    model_admin: ModelAdmin[Any], request: HttpRequest, query: str
) -> Iterator[tuple[str, str, Sequence[Cells]]]:
    """Yields the headings above a list, what the user may do, and what code declares below each.

    These are flags without a row, and all values, in the order of their declaration. One query.
    """
    model, site = model_admin.model, model_admin.admin_site
    keys = [key for key in DECLARED if declaration(model, key) is not None]
    stored = {row.key: row for row in all_rows(model).filter(key__in=keys)} if keys else {}
    rows: list[Any] = [stored.get(key) or declared_row(model, key) for key in keys]
    has_stored = model is conf.value_model
    groups: dict[str, list[Any]] = {}
    for row in rows:
        is_shown = declared_value(row.key) is not None or not is_stored(row)
        is_found = query.casefold() in f"{row.key} {row.description}".casefold()
        if is_shown and is_found and may(site, request, "view", row):
            declared = declared_value(row.key)
            groups.setdefault("" if declared is None else declared.group, []).append(row)
    # Those without a group come last.
    for heading, of_group in sorted(groups.items(), key=lambda group: not group[0]):
        may_change = all(may(site, request, "change", row) for row in of_group)
        right = say("you may change these") if may_change else say("you may view these")
        urls = [page_url(site, model, "change", row_id(row)) for row in of_group]
        cells = [
            (two_lines(key_link(row.key, url), short(row.description)), _state(row))
            for row, url in zip(of_group, urls, strict=True)
        ]
        # Flags that have a row are in the list itself.
        rest = say("Declared in code") if has_stored else say("Declared in code only")
        yield heading or rest.local, right.local, cells


def _state(row: Any) -> object:
    if declared_value(row.key) is None:
        return AS_DECLARED
    text = json_html(short(describe_value(row.value, secret=is_secret(row))))
    return two_lines(text, "" if is_stored(row) else str(DEFAULT))


class _Typed(NamedTuple):
    """What a person gives for a value that may be None."""

    text: Any
    #: The box that was checked, if it was.
    no_value: Sequence[str]


class _InputOrNoValue(forms.MultiWidget):
    """An input, and a box below it: an empty input is no value only if the box says so."""

    use_fieldset = False

    def __init__(self, widget: forms.Widget) -> None:
        box = forms.CheckboxSelectMultiple(choices=[("null", say("No value").lazy)])
        super().__init__({"": widget, _NO_VALUE: box})

    def decompress(self, value: Any) -> _Typed:
        """Returns what the input shows. The box is never checked before a person does."""
        return _Typed(value, [])

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Returns what was posted."""
        return _Typed(*super().value_from_datadict(data, files, name))

    def id_for_label(self, id_: str) -> str:
        """Returns the id of the input."""
        return f"{id_}_0"


class DeclaredField(forms.Field):
    """The input of a declared value: Django's field for its type. Its data is what JSON stores.

    With `is_masked`, a text that shows neither the value nor its choices, read as in the terminal.
    With `is_null`, the input is empty because there is no value: it is not the empty text.
    """

    def __init__(
        self,
        declared: Value[Any],
        *,
        is_masked: bool = False,
        is_null: bool = False,
        **options: Any,
    ) -> None:
        self.declared, self.is_nullable = declared, declared.null
        self.is_masked, self.is_null = is_masked, is_null
        if is_masked:
            self.inner: forms.Field = forms.CharField(widget=JsonField.widget)
        elif declared.choices or declared.python_type is bool:
            none = [("", say("No value").lazy)] if declared.null else []
            choices = [(str(number), self._label(choice)) for number, choice in self._choices()]
            self.inner = forms.TypedChoiceField(
                choices=[*none, *choices],
                coerce=lambda number: dict(self._choices())[int(number)],
                empty_value=None,
            )
        else:
            self.inner = _FIELDS[declared.python_type]()
            if declared.python_type is date:
                self.inner.widget = AdminDateWidget()
        is_choice = isinstance(self.inner, forms.TypedChoiceField)
        has_empty_text = declared.python_type is str and not is_masked
        self.inner.required = not (has_empty_text or (is_choice and declared.null))
        widget = self.inner.widget
        if declared.null and not is_choice:
            widget = _InputOrNoValue(widget)
        super().__init__(widget=widget, **{**options, "required": self.inner.required})

    def _choices(self) -> Iterator[tuple[int, Any]]:
        yield from enumerate(self.declared.choices or (True, False))

    @staticmethod
    def _label(choice: Any) -> str:
        return str(getattr(choice, "label", None) or getattr(choice, "value", choice))

    def results(self) -> dict[str, object]:
        """Returns the labels of the choices by their JSON; nothing without choices."""
        if not isinstance(self.inner, forms.TypedChoiceField):
            return {}
        to_json = self.declared.to_json
        choices = (choice for _number, choice in self._choices())
        return {
            json.dumps(to_json(each), ensure_ascii=False): self._label(each) for each in choices
        }

    def prepare_value(self, value: Any) -> Any:
        """Returns what the input shows: a stored value as a person types it."""
        if isinstance(value, _Typed):
            return value
        try:
            read = self.declared.from_json(value)
        except (ArithmeticError, TypeError, ValueError):
            return value
        if not isinstance(self.inner, forms.TypedChoiceField):
            return self.inner.prepare_value(read)
        numbers = [str(number) for number, choice in self._choices() if choice == read]
        return numbers[0] if numbers else value

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Returns what was typed."""
        if isinstance(data, _Typed):
            return data._replace(text=self.inner.bound_data(data.text, initial))
        return self.inner.bound_data(data, initial)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether a person has typed something, or checked the box."""
        text, no_value = data if isinstance(data, _Typed) else (data, [])
        return bool(no_value) or super().has_changed(initial, text)

    def clean(self, value: Any) -> Any:
        """Returns what JSON stores. Raises ValidationError."""
        text, no_value = value if isinstance(value, _Typed) else (value, [])
        if no_value and text and self.is_masked:
            raise ValidationError(say("Type a value, or choose “No value”, but not both.").local)
        if no_value or (self.is_masked and not text and not self.required):
            return None
        if isinstance(value, _Typed) and not text and (self.required or self.is_null):
            raise ValidationError(say("Type a value, or choose “No value”.").local)
        # Browsers post other ends of lines.
        read = self.inner.clean(text.replace("\r\n", "\n") if isinstance(text, str) else text)
        if self.is_masked:
            return read_declared(self.declared, read)
        # A datetime of a form has a time zone, and that of code may have none.
        try:
            stored = self.declared.to_json(self.declared.from_json(self.declared.to_json(read)))
        except OverflowError:
            raise ValidationError(self.inner.error_messages["invalid"]) from None
        if problem := self.declared.refusal(stored, secret=False):
            raise TextError(problem)
        return stored
