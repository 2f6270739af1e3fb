"""The form of an action: its arguments as the fields of a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django import forms
from django.db.models import JSONField
from django.http import HttpRequest
from django.utils.text import capfirst

from flagstaff._tables.model_fields import find_field
from flagstaff._text import Sentence, localized, say
from flagstaff.actions import Action, Argument
from flagstaff.actions.arguments import Several
from flagstaff.admin.action_admin import ActionAdmin, ArgumentForm

# The labels of arguments that are not columns of their row.
_LABELS: Mapping[str, Any] = {"percent": say("Percent").lazy, "users": say("Users").lazy}


class ArgumentFields:
    """The fields of the arguments of an action of rows."""

    def __init__(
        self,
        admin: ActionAdmin,
        request: HttpRequest,
        action: Action,
        rows: Sequence[Any],
        asked: Mapping[str, Any],
    ) -> None:
        """`asked` are the arguments of an action that is asked for again."""
        self.admin, self.request, self.action, self.rows = admin, request, action, rows
        self.asked = asked
        self.row = rows[0] if len(rows) == 1 else None

    def form(self, *, is_answered: bool) -> ArgumentForm:
        """Returns the form, bound to what was posted, or to what a link has filled in."""
        admin, request, action, row = self.admin, self.request, self.action, self.row
        fields, query = self._fields(), request.GET
        initial = {**self._shared(fields), **admin.initial_arguments(request, action, row)}
        initial |= {name: self._from_url(name, query[name]) for name in fields.keys() & query}
        for name in fields.keys() & self.asked:
            initial[name] = self._from_stored(name, self.asked[name])
            # It is written, although the person does not change it.
            fields[name].show_hidden_initial = False
        data: Any = request.POST if is_answered else None
        if not is_answered and self._is_complete(fields, initial):
            data = initial
        form: ArgumentForm = type("Form", (ArgumentForm,), fields)(data, initial=initial)
        admin.prepare_form(form, request, action, row)
        if data is None and form.fields:
            widget = next(iter(form.fields.values())).widget
            # Of an input with a box, the input.
            getattr(widget, "widgets", [widget])[0].attrs["autofocus"] = True
        return form

    def _fields(self) -> dict[str, forms.Field]:
        fields = dict[str, forms.Field]()
        if self.action.creates:
            fields["key"] = self._field("key", Argument(""), required=True)
        readonly = {*self.admin.get_readonly_fields(self.request, self.row)}
        for name, (argument, required) in self.action.arguments().items():
            if name not in readonly:
                field = fields[name] = self._field(name, argument, required=required)
                # Only what a person changes is written of the fields that need not be given.
                is_kept = bool(self.rows and not required and self._column(name))
                field.show_hidden_initial = is_kept
                if is_kept and self.row is None:
                    field.required = False
        return fields

    def _column(self, name: str) -> Any:
        """Returns the field of the model whose form field an argument has; None for none."""
        return find_field(self.admin.model, name) if self.admin.has_column_arguments else None

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the form field of the model for one of its fields, as on any page of Django."""
        column = self._column(name)
        field = self.admin.formfield_for_dbfield(column, self.request) if column else None
        if field is not None:
            # A field that a model may leave empty, such as a value, can be what an action is about.
            field.required = field.required or required
            return field
        # Without a label of ours, translated where a column or a table has the same name.
        label = _LABELS.get(name) or say(capfirst(name.replace("_", " "))).local
        field = argument.form_field(label, required=required)
        if isinstance(argument.help, Sentence):
            text, lines = localized(argument.help), say("One on each line: {what}")
            is_several = isinstance(argument, Several)
            field.help_text = say(lines, what=text).local if is_several else capfirst(text)
        return field

    def _shared(self, names: Iterable[str]) -> dict[str, Any]:
        """Returns what all rows have in the columns."""
        shared: dict[str, Any] = {}
        for name in names:
            # Not methods of a row, which Django would call for the initial value, as `delete`.
            if column := self._column(name):
                values = [getattr(row, column.attname) for row in self.rows]
                if values and all(value == values[0] for value in values):
                    shared[name] = values[0]
        return shared

    def _from_url(self, name: str, text: str) -> Any:
        """Returns the initial value of a field that a link fills in."""
        if isinstance(self._column(name), JSONField):
            with suppress(ValueError):
                return json.loads(text)
        return text

    def _from_stored(self, name: str, value: Any) -> Any:
        """Returns the initial value of a field that was asked for before."""
        is_lines = isinstance(value, list) and self._column(name) is None
        return "\n".join(map(str, value)) if is_lines else value

    def _is_complete(self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]) -> bool:
        """Whether a link, or what is usual, fills in the form. What is edited is no answer yet."""
        if self.action.fields is not None or any(map(self._column, fields)):
            return False
        return all(name in initial for name, field in fields.items() if field.required)
