"""Flags that are snoozed: not stale until a date. No other app refers to them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from flagstaff._time_fields import DayField, TimeField
from flagstaff.validators import KEY_MAX_LENGTH


class StaleCount(models.Model):
    """The number of stale flags at a time. The table has one row, with the primary key 1."""

    count: models.Field[Any, int] = models.PositiveIntegerField()
    at: models.Field[Any, datetime] = TimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.count} stale flags"


class Snooze(models.Model):
    """A flag that is not stale until a date, and why. A flag has at most one."""

    # By text, because the flag model may be the project's own, with a key of any type.
    flag_pk: models.Field[Any, str] = models.CharField(
        _("primary key of the flag"), max_length=KEY_MAX_LENGTH, unique=True
    )
    #: The key of the flag when it was snoozed.
    key: models.Field[Any, str] = models.CharField(_("key"), max_length=KEY_MAX_LENGTH)
    #: The first day on which the flag can be stale again.
    until: models.Field[Any, date] = DayField(_("until"))
    reason: models.Field[Any, str] = models.TextField(
        _("reason"), blank=True, default="", db_default=""
    )
    #: The primary key of a user, or a name; empty if it is not known.
    actor: models.Field[Any, str] = models.TextField(
        _("actor"), blank=True, default="", db_default=""
    )
    at: models.Field[Any, datetime] = TimeField(_("at"), db_default=Now())

    class Meta:
        # Who may change a flag may snooze it.
        default_permissions = ()
        verbose_name = _("snoozed flag")
        # The admin lists its page under this name.
        verbose_name_plural = _("stale flags")
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key
