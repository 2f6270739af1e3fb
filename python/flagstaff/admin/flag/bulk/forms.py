"""The fields of the pages that confirm an action for several flags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from flagstaff._tables.model_fields import OWNER, TAGS, AnyField
from flagstaff._tables.tags import usable_tags
from flagstaff._words.times import aware, local_days, local_time
from flagstaff.admin.flag.form.inputs import TagsField
from flagstaff.conf import conf

# The length of a period in days.
_PERIODS = (30, 90)
_NEVER = "none"
_NO_REVIEW = (_NEVER, gettext_lazy("no review date"))
_INPUT = {"class": "flagstaff-reason", "autofocus": True}


class FlagsForm(forms.Form):
    """The form of an action for these flags. It asks for nothing."""

    def __init__(self, _flags: Sequence[Any], data: Any) -> None:
        super().__init__(data)


class OwnerForm(FlagsForm):
    """The new owner."""

    def __init__(self, flags: Sequence[Any], data: Any) -> None:
        super().__init__(flags, data)
        column = cast("AnyField", conf.flag_model._meta.get_field(OWNER))
        field = column.formfield(widget=forms.TextInput(_INPUT))
        if field is not None:
            field.help_text = "" if field.required else _("Leave it empty to remove the owner.")
            self.fields[OWNER] = field


class AddTagsForm(FlagsForm):
    """The tags to add, as a line."""

    tags = TagsField(
        label=pgettext_lazy("column", "Tags"),
        help_text=gettext_lazy("Separate them with commas."),
        widget=forms.TextInput(_INPUT),
    )


class RemoveTagsForm(FlagsForm):
    """The tags to remove, of those that the flags have."""

    tags = forms.MultipleChoiceField(
        label=pgettext_lazy("column", "Tags"), widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, flags: Sequence[Any], data: Any) -> None:
        super().__init__(flags, data)
        found = {tag for flag in flags for tag in usable_tags(flag.tags)}
        self.fields[TAGS].choices = [(tag, tag) for tag in sorted(found)]  # type: ignore[attr-defined]


class ReviewForm(FlagsForm):
    """The review date: after one of the usual periods, any other in the future, or none."""

    period = forms.ChoiceField(label=gettext_lazy("Date"), required=False)
    until = forms.DateField(
        label=gettext_lazy("Or another date"),
        required=False,
        help_text=gettext_lazy("This date is used instead of the choice above."),
    )

    def __init__(self, flags: Sequence[Any], data: Any) -> None:
        super().__init__(flags, data)
        self._today = local_time(aware(timezone.now())).date()
        tomorrow = (self._today + timedelta(days=1)).isoformat()
        attributes = {"type": "date", "min": tomorrow, "class": "flagstaff-date"}
        self.fields["until"].widget = forms.DateInput(attributes, format="%Y-%m-%d")
        periods = [(str(days), _in_days(days, self._after(days))) for days in _PERIODS]
        self.fields["period"].choices = [*periods, _NO_REVIEW]  # type: ignore[attr-defined]

    def _after(self, days: int) -> date:
        return self._today + timedelta(days=days)

    def clean_until(self) -> date | None:
        """Refuses a date that is not in the future."""
        until: date | None = self.cleaned_data["until"]
        if until is not None and until <= self._today:
            raise ValidationError(_("Choose a date in the future."))
        return until

    def clean(self) -> dict[str, Any]:
        """Returns the date as `until`; None for none."""
        data = self.cleaned_data
        period = data.get("period", _NEVER)
        if data.get("until") is None and period != _NEVER:
            if not period:
                raise ValidationError(_("Choose a date in the future."))
            data["until"] = self._after(int(period))
        return data


def _in_days(days: int, day: date) -> str:
    text = _("%(days)s from now, %(date)s")
    return text % {"days": local_days(days), "date": date_format(day)}
