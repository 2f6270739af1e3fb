"""The form of a flag or a value: it knows which version was shown, and asks for a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from flagstaff.admin.attribution import LONGEST_REASON, REASON
from flagstaff.changes.locking import locked_row, require_version
from flagstaff.exceptions import ConflictError, NoHistoryError
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.users import names_of_actors
from flagstaff.history.versions import version_of

__all__ = ["OF_THE_FORM", "VERSION", "VersionedForm"]

VERSION = "expect_version"
#: Fields that the model has not.
OF_THE_FORM = (REASON, VERSION)

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class VersionedForm(_ModelForm):
    """Refuses what was changed since the page was opened. What was typed stays."""

    kind = Kind.FLAG

    reason = forms.CharField(
        label=_("reason"),
        required=False,
        max_length=LONGEST_REASON,
        help_text=_("Why, for the history."),
    )
    expect_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key_before: str = self.instance.key
        if self.instance.pk is not None:
            self.initial.setdefault(VERSION, version_of(self.kind, self.instance.pk))

    @property
    def moved(self) -> list[str]:
        """The fields of the model that were changed in the form."""
        return [name for name in self.changed_data if name not in OF_THE_FORM]

    def clean(self) -> dict[str, Any] | None:
        """Lock the row, and refuse a version that is not the one that was shown."""
        cleaned = super().clean()
        version = self.cleaned_data.get(VERSION)
        if version is not None and self.instance.pk is not None and self.moved:
            self._expect(version)
        return cleaned

    def _expect(self, version: int) -> None:
        try:
            with locked_row(self.kind, self.key_before) as row:
                require_version(self.kind, row.key, row.pk, version)
        except NoHistoryError:
            # Without triggers nobody can know; the system check tells of them.
            return
        except ConflictError as error:
            self._tell(error)

    def _tell(self, error: ConflictError) -> None:
        names = names_of_actors(error.newer)
        since = "; ".join(
            f"{describe_actor(event, names)}: {describe_change(event)}" for event in error.newer
        )
        text = _("Changed since you opened this page: %(since)s. Save again to write over it.")
        self.add_error(None, forms.ValidationError(text % {"since": since}, code="conflict"))
        # Who has been told may go on.
        sent: Any = self.data
        sent = sent.copy()
        sent[self.add_prefix(VERSION)] = str(error.actual)
        self.data = sent
