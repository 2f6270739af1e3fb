"""The form of a flag or a value: carries the version that was shown, and an optional reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from flagstaff._tables.rows import Fields
from flagstaff.admin.attribution import MAX_REASON_LENGTH, REASON
from flagstaff.exceptions import ConflictError
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import names_of_actors
from flagstaff.history.versions import version_of

__all__ = ["VERSION", "VersionedForm"]

#: The name of the form field.
VERSION = "expect_version"

_CONFLICT = {
    Kind.FLAG: _(
        "This flag was changed after you opened the page: %(changes)s. "
        "Save again to overwrite that change."
    ),
    Kind.VALUE: _(
        "This value was changed after you opened the page: %(changes)s. "
        "Save again to overwrite that change."
    ),
}

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class VersionedForm(_ModelForm):
    """Shows a conflict with a newer change as a form error and keeps the user's input."""

    kind = Kind.FLAG
    #: The conflict that saving this form raised. Set by SavingMixin on the class of a request.
    conflict: ClassVar[ConflictError | None] = None

    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=MAX_REASON_LENGTH,
        widget=AdminTextInputWidget,
        help_text=_("Reason for this change; shown in the history."),
    )
    expect_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial_key: str = self.instance.key
        if self.instance.pk is not None:
            self.initial.setdefault(VERSION, version_of(self.kind, self.instance.pk))

    @property
    def changed_fields(self) -> Fields:
        """The model's fields that differ from the row, with their new values."""
        names = [name for name in self.changed_data if name not in (REASON, VERSION)]
        return {name: self.cleaned_data[name] for name in names}

    def _get_validation_exclusions(self) -> set[str]:
        """Leaves out an unchanged key, so that a flag whose key is not valid can be disabled."""
        names: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        is_renamed = self.instance._state.adding or "key" in self.changed_data
        return names if is_renamed else names | {"key"}

    def clean(self) -> dict[str, Any] | None:
        """Adds the error of a conflict, if there is one."""
        cleaned = super().clean()
        if self.conflict is not None:
            self._add_conflict(self.conflict)
        return cleaned

    def _add_conflict(self, conflict: ConflictError) -> None:
        names = names_of_actors(conflict.newer)
        changes = "; ".join(
            f"{describe_actor(event, names)}: {describe_change(event)}" for event in conflict.newer
        )
        text = _CONFLICT[self.kind]
        self.add_error(None, forms.ValidationError(text % {"changes": changes}, code="conflict"))
        # The user has seen the conflict: the next save expects the version of now.
        data = cast("QueryDict", self.data).copy()
        data[self.add_prefix(VERSION)] = str(conflict.actual)
        self.data = data
