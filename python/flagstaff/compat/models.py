"""The models: what was imported from waffle, and where waffle and flagstaff differ."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from flagstaff._time_fields import DayField, TimeField
from flagstaff.validators import KEY_MAX_LENGTH

#: The source of changes that come from waffle, in the history.
SOURCE = "waffle"


class WaffleRow(models.Model):
    """A flag, switch or sample of waffle as it was when it was last written here.

    What changed since then, there or here, is found by comparing with it.
    """

    #: "flag", "switch" or "sample".
    kind: models.Field[Any, str] = models.CharField(max_length=8)
    #: Its name in waffle.
    name: models.Field[Any, str] = models.CharField(max_length=KEY_MAX_LENGTH)
    #: The key of the flag.
    key: models.Field[Any, str] = models.CharField(max_length=KEY_MAX_LENGTH)
    #: The fields that were written, by name, as an export has them; empty if nothing was written.
    fields: models.Field[Any, Any] = models.JSONField(default=dict)
    #: The primary keys of the allowed users that were written, as text.
    users: models.Field[Any, Any] = models.JSONField(default=list)
    #: Why the last change in waffle could not be written here; empty if it could.
    problem: models.Field[Any, str] = models.TextField(blank=True, default="", db_default="")
    at: models.Field[Any, datetime] = TimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("kind", "name"), name="flagstaff_compat_row_name"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def has_written(self, key: str) -> bool:
        """Whether the flag of this key was written from the row, which then may have a problem."""
        return bool(self.fields) and self.key == key


class Difference(models.Model):
    """How often waffle and flagstaff had these two results on a day, and one example."""

    day: models.Field[Any, date] = DayField(_("day"))
    #: "flag", "switch" or "sample".
    kind: models.Field[Any, str] = models.CharField(_("kind"), max_length=8)
    name: models.Field[Any, str] = models.CharField(_("name in waffle"), max_length=KEY_MAX_LENGTH)
    #: Why they differ, such as "percentage"; "equal" if they do not.
    cause: models.Field[Any, str] = models.CharField(_("cause"), max_length=32)
    waffle: models.Field[Any, bool] = models.BooleanField(_("result of waffle"))
    flagstaff: models.Field[Any, bool] = models.BooleanField(_("result of flagstaff"))
    count: models.Field[Any, int] = models.BigIntegerField(_("evaluations"))
    #: The primary key of a user, as text; empty for an anonymous one.
    user_pk: models.Field[Any, str] = models.TextField(_("example user"), blank=True, default="")
    #: The path of a request, without the query; its route if a view gets parts of it.
    path: models.Field[Any, str] = models.TextField(_("example path"), blank=True, default="")

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("difference from waffle")
        verbose_name_plural = _("differences from waffle")
        ordering = ("-day", "name", "cause")
        constraints = (
            models.UniqueConstraint(
                fields=("day", "kind", "name", "cause", "waffle", "flagstaff"),
                name="flagstaff_compat_difference_of_day",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.cause}"
