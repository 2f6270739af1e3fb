"""The queue of deliveries. A change of a flag writes nothing here: `run-jobs` reads the history."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Position(models.Model):
    """How far a receiver has read the history. What was committed by then is queued or sent."""

    receiver = models.TextField(primary_key=True)
    #: The highest id in the history at that point, and the transactions that were open.
    last_entry_id = models.BigIntegerField()
    open_transactions = models.JSONField()
    #: The end of the pause of a receiver that could not be reached.
    paused_until = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.receiver


class Delivery(models.Model):
    """One event for one receiver. The message is created when it is sent, from the history."""

    receiver = models.TextField()
    #: The row: its kind, primary key and key. Allowed users are part of their flag.
    kind = models.TextField()
    object_pk = models.TextField()
    key = models.TextField()
    #: The ids of its entries in the history.
    entry_ids = models.JSONField()
    #: What happened to an action that waits; empty for a change.
    event = models.TextField(default="")
    queued_at = models.DateTimeField(db_default=Now())
    #: The number of attempts that have begun.
    attempts = models.IntegerField(db_default=0)
    due_at = models.DateTimeField(db_default=Now())
    #: Until then one run has the delivery to itself.
    claim_expires_at = models.DateTimeField(null=True)
    #: When the delivery was given up.
    failed_at = models.DateTimeField(null=True)
    last_error = models.TextField(null=True)  # noqa: DJ001 (None without an error)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.key} for {self.receiver}"
