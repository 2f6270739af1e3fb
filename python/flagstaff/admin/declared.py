"""What code declares, on the pages: the part of a list, and the input of a declared value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AdminDateWidget
from django.http import HttpRequest
from django.utils.safestring import SafeString

from flagstaff._declared import DECLARED, Value, declared_value
from flagstaff._tables.rows import all_rows, declaration, declared_row, is_stored
from flagstaff._tables.states import AS_DECLARED, DEFAULT
from flagstaff._text import say
from flagstaff._value_schema import is_secret
from flagstaff.actions.arguments import JsonField
from flagstaff.admin.links import page_url, row_id
from flagstaff.admin.rights import may
from flagstaff.admin.words import json_html, key_link, short, two_lines
from flagstaff.history.describe import describe_value

# Django's field for each type.
_FIELDS: dict[type, type[forms.Field]] = {
    int: forms.IntegerField,
    float: forms.FloatField,
    str: forms.CharField,
    Decimal: forms.DecimalField,
    date: forms.DateField,
    datetime: forms.DateTimeField,
    timedelta: forms.DurationField,
    list: JsonField,
    dict: JsonField,
}

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
        yield heading or say("Declared in code").local, right.local, cells


def _state(row: Any) -> object:
    if declared_value(row.key) is None:
        return AS_DECLARED
    text = json_html(short(describe_value(row.value, secret=is_secret(row))))
    return two_lines(text, "" if is_stored(row) else str(DEFAULT))


class DeclaredField(forms.Field):
    """The input of a declared value: Django's field for its type. Its data is what JSON stores."""

    def __init__(self, declared: Value[Any], **options: Any) -> None:
        self.declared, self.is_nullable = declared, declared.null
        if declared.choices or declared.python_type is bool:
            self.inner: forms.Field = forms.TypedChoiceField(
                choices=[(str(number), self._label(choice)) for number, choice in self._choices()],
                coerce=lambda number: dict(self._choices())[int(number)],
                required=not declared.null,
                empty_value=None,
            )
        else:
            self.inner = _FIELDS[declared.python_type](required=not declared.null)
        if isinstance(self.inner, forms.CharField) and declared.python_type is str:
            self.inner.required = False
            self.inner.empty_value = None if declared.null else ""
        elif isinstance(self.inner, JsonField):
            # An empty text is neither null nor an empty list.
            self.inner.required, self.inner.is_nullable = True, declared.null
        elif declared.python_type is date:
            self.inner.widget = AdminDateWidget()
        super().__init__(widget=self.inner.widget, **{**options, "required": self.inner.required})

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
        return self.inner.bound_data(data, initial)

    def clean(self, value: Any) -> Any:
        """Returns what JSON stores. Raises ValidationError."""
        read = self.inner.clean(value)
        for validate in self.declared.validators if read is not None else ():
            validate(read)
        return self.declared.to_json(read)
