"""Flags, values, segments, and the history that triggers write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from flagstaff.base_models import (
    AbstractFeatureFlag,
    AbstractKeyValueStore,
    CheckedJSONField,
    finite_times,
    readable_json,
)
from flagstaff.history.log import Change
from flagstaff.validators import (
    KEY_MAX_LENGTH,
    validate_conditions,
    validate_flag_key,
    validate_text,
)

# The other models are internal.
__all__ = ["Change", "FeatureFlag", "KeyValueStore", "Segment"]


class FeatureFlag(AbstractFeatureFlag):
    """A flag: enabled or disabled, with a rollout percentage and allowed users."""

    # Repeated for related_name: Django's default would clash with a project's own flag model.
    allowed_users = models.ManyToManyField(  # type: ignore[assignment]
        settings.AUTH_USER_MODEL,
        verbose_name=_("allowed users"),
        related_name="flagstaff_flags",
        blank=True,
        help_text=_("These users have the flag at any percentage while it is enabled."),
    )


class KeyValueStore(AbstractKeyValueStore):
    """A value that can be changed without a deploy."""


class Segment(models.Model):
    """Named conditions that the rules of several flags can use."""

    key: models.Field[str | Combinable, str] = models.CharField(
        _("key"),
        max_length=KEY_MAX_LENGTH,
        unique=True,
        validators=[validate_flag_key],
        help_text=_('The name that rules use, such as "enterprise".'),
    )
    # No default: an empty list would match every user, so it is not valid.
    conditions: models.Field[Any, Any] = CheckedJSONField(
        _("conditions"),
        validators=[validate_conditions],
        help_text=_("A user is in the segment if all conditions are true."),
    )
    description: models.Field[str | Combinable, str] = models.TextField(
        _("description"), blank=True, default="", db_default="", validators=[validate_text]
    )
    created_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        _("created at"), auto_now_add=True, db_default=Now()
    )
    changed_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        _("changed at"), auto_now=True, db_default=Now()
    )

    class Meta:
        verbose_name = _("segment")
        verbose_name_plural = _("segments")
        ordering = ("key",)
        constraints = (
            readable_json("conditions"),
            finite_times("created_at", "changed_at"),
        )

    def __str__(self) -> str:
        return self.key


class StaleCount(models.Model):
    """The number of stale flags at a time. The table has one row, with the primary key 1."""

    count: models.Field[Any, int] = models.PositiveIntegerField()
    at: models.Field[Any, datetime] = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return f"{self.count} stale flags"
