from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Order(models.Model):
    """A paid order. Its id cannot be guessed, so its receipt needs no login."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, blank=True, null=True)
    name = models.CharField(max_length=80)
    address = models.CharField(max_length=200)
    lines = models.JSONField(help_text="The lines of the receipt, each with a text and its cents.")
    cents = models.PositiveIntegerField("total in cents")
    gateway = models.CharField(max_length=40)
    checkout = models.CharField(max_length=20)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return str(self.id)
