"""The form of a row: merges the user's edits with newer changes, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.forms.utils import ErrorDict
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._stored_value_schema import SECRET_FIELDS, is_secret
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import TAGS
from flagstaff._tables.rows import Fields
from flagstaff._words.json_text import canonical_json
from flagstaff.admin.fallbacks import can_read
from flagstaff.admin.page import request_of
from flagstaff.admin.views import MAX_REASON_LENGTH, REASON, reason_required
from flagstaff.conf import conf
from flagstaff.history.describe import describe_actor, describe_value
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events, has_history, newest_version, version_of
from flagstaff.history.user_names import names_of_actors

#: The name of the hidden form field.
SUBMITTED = "_shown"
# The length of each value in the message about a conflict.
_MAX_VALUE = 120
# The newest events, among which the author of a conflicting change is searched.
_MAX_EVENTS = 20
# The fields with rules of flags and conditions of segments.
_TARGETING = {"rules", "conditions"}
_CONFLICT = {
    Kind.FLAG: gettext_lazy(
        "This flag was changed after you opened the page. Nothing was saved. The fields that you "
        "have not edited now show the values in the database."
    ),
    Kind.VALUE: gettext_lazy(
        "This value was changed after you opened the page. Nothing was saved. The fields that you "
        "have not edited now show the values in the database."
    ),
}


@dataclass(frozen=True)
class SubmittedState:
    """The fields of a page, each as a digest, because a value may be long."""

    #: None without a history.
    version: int | None
    fields: Mapping[str, str]


def _parse_submitted(data: object) -> SubmittedState | None:
    """Reads the content of the hidden field; None if it has another form."""
    if not isinstance(data, dict):
        return None
    version, fields = (data.get(name) for name in ("version", "fields"))
    if not (version is None or isinstance(version, int)):
        return None
    if not (isinstance(fields, dict) and all(isinstance(one, str) for one in fields.values())):
        return None
    return SubmittedState(version, fields)


def was_submitted(request: HttpRequest, name: str) -> bool | None:
    """Whether the submitted page had a field; None if no page was submitted."""
    try:
        shown = _parse_submitted(json.loads(request.POST.get(SUBMITTED, "")))
    except ValueError:
        return None
    return None if shown is None else name in shown.fields


def digest(name: str, value: object) -> str:
    """Returns the same text for equal values, whether read from the row or from the form."""
    if name in ("value", "rules", "conditions", "choices"):
        text = canonical_json(value, allow_nan=True)
    else:
        plain = getattr(value, "pk", value)
        text = json.dumps(_as_posted(plain), cls=DjangoJSONEncoder)
    # Salted: the page of a secret must not have what the secret can be guessed from.
    return salted_hmac("flagstaff.admin.forms", text, algorithm="sha256").hexdigest()


def _as_posted(value: object) -> object:
    """Text as a browser sends it and a form reads it: the same after any number of saves."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip()
    return list(map(str, value)) if isinstance(value, QuerySet | list) else value


if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class MergingForm(_ModelForm):
    """Writes only the fields that the user has edited; all others keep their present values.

    If an edited field has a newer value, that is a conflict, and becomes a form error.
    """

    kind = Kind.FLAG
    #: Why `flagstaff.changes` has refused the same data, or None.
    refusal: str | None = None
    #: Called with a valid form; returns False if it must not be saved now.
    may_save: Callable[[MergingForm], bool] | None = None
    #: Whether the page is shown again with what was typed, unchecked and without saving.
    is_review = False

    _reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON_LENGTH,
        widget=AdminTextInputWidget,
        help_text=gettext_lazy("Reason for this change; shown in the history."),
    )
    _shown = forms.JSONField(
        # Jazzmin shows the labels of hidden fields.
        label="",
        required=False,
        widget=forms.HiddenInput,
        error_messages={"invalid": gettext_lazy("This form cannot be read. Open the page again.")},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._present: SubmittedState | None = None
        if self.instance.pk is not None:
            values = {name: self.initial[name] for name in self.fields if name in self.initial}
            fields = {name: digest(name, value) for name, value in values.items()}
            self._present = SubmittedState(self._version(), fields)
            self.initial[SUBMITTED] = asdict(self._present)

    def _version(self) -> int | None:
        request = request_of(self.instance)
        if request is not None and can_read(request, "change_table"):
            return newest_version(self.kind, self.instance.pk)
        return version_of(self.kind, self.instance.pk)

    @property
    def shown(self) -> SubmittedState | None:
        """What the submitted page showed; None for a new row."""
        submitted: SubmittedState | None = self.cleaned_data.get(SUBMITTED)
        return submitted

    @cached_property
    def changed_data(self) -> list[str]:
        """The fields that the user has edited: they differ from what the page showed."""
        differs = set(super().changed_data) - {SUBMITTED}
        submitted = self.shown.fields if self.shown else {}
        return [
            name
            for name in self.fields
            if (self._is_edited(name, submitted[name]) if name in submitted else name in differs)
        ]

    @property
    def changed_fields(self) -> Fields:
        """The model's fields that the user has edited, with their new values."""
        return {name: self.cleaned_data[name] for name in self.changed_data if name != REASON}

    @property
    def expected_fields(self) -> Fields:
        """The values of the same fields when the form was validated."""
        return {name: self.initial.get(name) for name in self.changed_fields}

    def is_valid(self) -> bool:
        """Whether the form can be saved."""
        if self.is_review or not super().is_valid():
            return False
        return self.may_save is None or self.may_save(self)

    def refuse(self, text: str, field: str | None = None) -> None:
        """Adds an error to a form that is valid. The page keeps what was typed."""
        self.add_error(field, forms.ValidationError(text, code="refused"))
        self._show_present()

    def clean__shown(self) -> SubmittedState | None:
        """Reads what the submitted page showed."""
        data = self.cleaned_data[SUBMITTED]
        submitted = _parse_submitted(data)
        if data is not None and submitted is None:
            text = self.fields[SUBMITTED].error_messages["invalid"]
            raise forms.ValidationError(text, code="invalid")
        return submitted

    def _get_validation_exclusions(self) -> set[str]:
        """Leaves out what is unchanged, so that a flag with an invalid key can be disabled."""
        names: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        if self.instance._state.adding:
            return names
        unchanged = {"key", BUCKET_BY, TAGS, *_TARGETING}.difference(self.changed_data)
        return names | unchanged

    def clean(self) -> dict[str, Any] | None:
        """Adds an error for each edited field that has a newer value."""
        cleaned = super().clean()
        if self.refusal:
            self.add_error(None, forms.ValidationError(self.refusal, code="refused"))
        if conflicts := list(self._conflicts()):
            events = self.newer_events(_MAX_EVENTS)
            for name in conflicts:
                text = self._both(name, events)
                self.add_error(name, forms.ValidationError(text, code="conflict"))
            self.add_error(None, forms.ValidationError(_CONFLICT[self.kind], code="conflict"))
        # A page asks for it where it asks for a confirmation, if it does.
        if self.may_save is None and self.lacks_reason:
            self.add_error(REASON, forms.ValidationError(reason_required(), code="required"))
        return cleaned

    @property
    def lacks_reason(self) -> bool:
        """Whether the edits need a reason. Turning a flag off needs none."""
        if not conf.require_reason or self.cleaned_data.get(REASON, "").strip():
            return False
        edits = [name for name in self.changed_data if name != REASON]
        turns_off = edits == ["enabled"] and self.cleaned_data.get("enabled") is False
        return REASON in self.fields and bool(edits) and not turns_off

    def full_clean(self) -> None:
        """Validates. A page with errors shows the present values of the fields without edits."""
        if self.is_review:
            self._errors = ErrorDict()
            self.cleaned_data = {}
            return
        super().full_clean()
        # By now `errors` is filled and does not validate again.
        if self.is_bound and self.errors:
            self._show_present()

    def _is_edited(self, name: str, submitted: str) -> bool:
        # An invalid field is not in cleaned_data.
        return name not in self.cleaned_data or digest(name, self.cleaned_data[name]) != submitted

    def _conflicts(self) -> Iterator[str]:
        """The edited fields that another change has set to another value."""
        submitted, present = self.shown, self._present
        if submitted is None or present is None:
            return
        for name in set(submitted.fields).intersection(self.changed_data, present.fields):
            changed = submitted.fields[name] != present.fields[name]
            if changed and self._is_edited(name, present.fields[name]):
                yield name

    def newer_events(self, limit: int) -> list[Event]:
        """The events since the page was opened; none without a history."""
        version = self.shown.version if self.shown else None
        if version is None or not has_history():
            return []
        newer = Change.objects.of_row(self.kind, self.instance.pk).filter(id__gt=version)
        return [*events(newer.short().newest()[:limit])]

    def _both(self, name: str, events: list[Event]) -> str:
        """Describes the conflict of one field."""
        secret = name in SECRET_FIELDS and is_secret(self.instance)
        sentences = []
        if name in self.cleaned_data:
            yours = _text(name, self.cleaned_data[name], secret=secret)
            sentences.append(_("Yours: %(value)s.") % {"value": yours})
        text = _("Now in the database: %(present)s.")
        texts = {"present": _text(name, self.initial[name], secret=secret)}
        by = [event for event in events if name in {one.field for one in event.differences}]
        if by:
            text = _("Now in the database: %(present)s, changed by %(actor)s.")
            texts["actor"] = describe_actor(by[0], names_of_actors(by[:1]))
        return " ".join([*sentences, text % texts, _("Save again to write your value.")])

    def _show_present(self) -> None:
        submitted = {SUBMITTED, *self.shown.fields} if self.shown else set()
        for name in submitted.intersection(self.fields).difference(self.changed_data):
            _show(self.fields[name], self.initial.get(name))


def _show(field: forms.Field, value: object) -> None:
    """Makes a bound field show this value instead of the submitted one."""
    field.bound_data = lambda _data, _initial: value  # type: ignore[assignment]


def _text(name: str, value: object, *, secret: bool) -> str:
    """A value as the history shows it."""
    value = getattr(value, "pk", value)
    return describe_value(value, field=name, secret=secret, limit=_MAX_VALUE)
