"""Flags, values, segments, and the history that triggers write."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connections, models, transaction
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from flagstaff._connection import is_postgresql
from flagstaff._text import say
from flagstaff._text.times import aware
from flagstaff.base_models import (
    AbstractFeatureFlag,
    AbstractKeyValueStore,
    CheckedJSONField,
    KeyedModel,
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

logger = logging.getLogger("flagstaff")


class FeatureFlag(AbstractFeatureFlag):
    """A flag: enabled or disabled, with a rollout percentage and allowed users."""

    # Repeated for related_name: Django's default would clash with a project's own flag model.
    allowed_users = models.ManyToManyField(  # type: ignore[assignment]
        settings.AUTH_USER_MODEL,
        verbose_name=say("allowed users").lazy,
        related_name="flagstaff_flags",
        blank=True,
        help_text=say("These users have the flag at any percentage while it is enabled.").lazy,
    )


class KeyValueStore(AbstractKeyValueStore):
    """A value that can be changed without a deploy."""


class Segment(KeyedModel):
    """Named conditions that the rules of several flags can use."""

    key: models.Field[str | Combinable, str] = models.CharField(
        say("key").lazy,
        max_length=KEY_MAX_LENGTH,
        unique=True,
        validators=[validate_flag_key],
        help_text=say('The name that rules use, such as "enterprise".').lazy,
    )
    # No default: an empty list would match every user, so it is not valid.
    conditions: models.Field[Any, Any] = CheckedJSONField(
        say("conditions").lazy,
        validators=[validate_conditions],
        help_text=say("A user is in the segment if all conditions are true.").lazy,
    )
    description: models.Field[str | Combinable, str] = models.TextField(
        say("description").lazy, blank=True, default="", db_default="", validators=[validate_text]
    )
    created_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        say("created at").lazy, auto_now_add=True, db_default=Now()
    )
    changed_at: models.Field[datetime | Combinable, datetime] = models.DateTimeField(
        say("changed at").lazy, auto_now=True, db_default=Now()
    )

    class Meta:
        verbose_name = say("segment").lazy
        verbose_name_plural = say("segments").lazy
        ordering = ("key",)
        constraints = (
            readable_json("conditions"),
            finite_times("created_at", "changed_at"),
        )


class StaleCount(models.Model):
    """The number of stale flags at a time. The table has one row, with the primary key 1."""

    count: models.Field[Any, int] = models.PositiveIntegerField()
    at: models.Field[Any, datetime] = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return f"{self.count} stale flags"


class JobsRun(models.Model):
    """When `run-jobs` last ran without an error. The table has one row, with the primary key 1."""

    last_run_at: models.Field[Any, datetime] = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (finite_times("last_run_at"),)

    def __str__(self) -> str:
        return f"run-jobs at {self.last_run_at}"


class _WaitingActions(models.QuerySet["WaitingAction"]):
    def of_rows(self, kind: str, keys: Iterable[str]) -> _WaitingActions:
        """Returns the actions of rows; a flag has those of its plan, too.

        Without a history, which SQLite lacks, nothing waits.
        """
        if not is_postgresql(connections[self.db]):
            return self.none()
        of_kind = models.Q(kind=kind) | models.Q(row_kind=kind)
        return self.filter(of_kind, keys__has_any_keys=[*keys])

    def cancel_giving(
        self, kind: str, key: str, actor: str, why: str, *, is_preview: bool = False
    ) -> tuple[int, ...]:
        """Cancels what waits to give a row to users, after a change that nothing may stop.

        So an error of the database is only logged, such as a right that is missing. Returns the
        numbers; of a preview those that it would cancel.
        """
        try:
            with transaction.atomic(using=self.db):
                giving = self.of_rows(kind, [key]).filter(takes_away=False)
                return giving.numbers() if is_preview else giving.cancel(actor, why)
        except DatabaseError:
            logger.exception("flagstaff: what waits for %s %s was not cancelled", kind, key)
            return ()

    def numbers(self) -> tuple[int, ...]:
        """Returns the numbers of those that wait, in their order."""
        waiting = self.filter(state__in=WaitingAction.OPEN).order_by("pk")
        return tuple(waiting.values_list("pk", flat=True))

    def cancel(self, actor: str, why: str) -> tuple[int, ...]:
        """Cancels those that wait, and returns their numbers. Belongs to a transaction."""
        # In the order in which all lock several, so that none of them deadlocks.
        numbers = self.select_for_update().numbers()
        self.model.objects.using(self.db).filter(pk__in=numbers).update(
            state=WaitingAction.State.CANCELLED, ended_by=actor, ended_at=Now(), result=why
        )
        return numbers


class WaitingAction(models.Model):
    """An action that was asked for, and waits for its time, for an approval, or for both.

    `flagstaff.waiting` writes the rows, and `run-jobs` runs them. A row says by itself who did what
    to it, and when; what the action writes is in the history.
    """

    class State(models.TextChoices):
        APPROVAL = "approval", say("waits for approval").lazy
        WAITING = "waiting", say("waits for its time").lazy
        DONE = "done", say("done").lazy
        FAILED = "failed", say("did not run").lazy
        EXPIRED = "expired", say("expired").lazy
        REFUSED = "refused", say("refused").lazy
        CANCELLED = "cancelled", say("cancelled").lazy

    #: The source of what an action writes, before its number.
    SOURCE = "waiting"
    #: The states of actions that may still run.
    OPEN = (State.APPROVAL, State.WAITING)
    #: The states that a person has to look at.
    PROBLEMS = (State.FAILED, State.EXPIRED)
    #: No `run-jobs` seems to run if an action is due for longer.
    OVERDUE_AFTER = timedelta(minutes=5)

    objects = _WaitingActions.as_manager()

    #: The kind of row and the name of the action, as in `flagstaff.actions`.
    kind: models.Field[Any, str] = models.CharField(max_length=50)
    action: models.Field[Any, str] = models.CharField(max_length=50)
    #: The kind of the row whose rights decide: "flag" for a plan.
    row_kind: models.Field[Any, str] = models.CharField(max_length=50)
    keys: models.Field[Any, list[str]] = CheckedJSONField()
    arguments: models.Field[Any, dict[str, Any]] = CheckedJSONField(encoder=DjangoJSONEncoder)
    #: What the action of an app is refused by: see `flagstaff.actions.table.Look`.
    expected: models.Field[Any, dict[str, Any]] = CheckedJSONField()
    #: A `Consequence` and a sentence about the users: as asked for, or as approved.
    consequence: models.Field[Any, int] = models.PositiveSmallIntegerField()
    users: models.Field[Any, str] = models.TextField()
    #: The same sentence for those who may not view users.
    rough_users: models.Field[Any, str] = models.TextField()
    #: The primary key of a user as text; empty if the user was forgotten.
    asked_by: models.Field[Any, str] = models.TextField()
    asked_at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())
    reason: models.Field[Any, str] = models.TextField()
    #: None until the approval of an action that waits for nothing else.
    run_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    needs_approval: models.Field[Any, bool] = models.BooleanField()
    state: models.Field[Any, str] = models.CharField(
        say("state").lazy, max_length=10, choices=State
    )
    approved_by: models.Field[Any, str] = models.TextField(default="")
    approved_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    #: Why it was approved.
    approval: models.Field[Any, str] = models.TextField(default="")
    #: Who refused or cancelled it.
    ended_by: models.Field[Any, str] = models.TextField(default="")
    ended_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    #: What it wrote, why it did not run, or why it was refused or cancelled.
    result: models.Field[Any, str] = models.TextField(default="")
    #: The numbers of its entries in the history.
    entries: models.Field[Any, list[int]] = CheckedJSONField(default=list)
    #: The rows that decide, as they are expected when it runs: see `flagstaff.waiting.standing`.
    stands_on: models.Field[Any, list[dict[str, Any]]] = CheckedJSONField(default=list)
    #: The numbers of the actions that run before it on its rows, the nearest last.
    rests_on: models.Field[Any, list[int]] = CheckedJSONField(default=list)
    #: Whether nobody can gain by it: then it runs late rather than never.
    takes_away: models.Field[Any, bool] = models.BooleanField(default=False)
    #: Of the end of a period, the number of the action that begins it.
    begun_by: models.Field[Any, int | None] = models.BigIntegerField(null=True)

    #: Why it will not run, as `flagstaff.waiting.outlook.foresee` has found; empty if it will.
    obstacle: str = ""
    #: The name of who asked, where pages show it.
    asker: str = ""
    #: Whether it will never run, whatever happens to its rows; and the number of the one in front
    #: that runs first.
    is_over: bool = False
    waits_for: int | None = None

    class Meta:
        verbose_name = say("waiting action").lazy
        verbose_name_plural = say("waiting actions").lazy
        ordering = ("-id",)
        default_permissions = ()
        indexes = (
            models.Index(
                fields=["run_at"],
                name="flagstaff_waiting_due",
                condition=models.Q(state__in=("approval", "waiting")),
            ),
        )
        constraints = (
            readable_json(
                "keys", "expected", "entries", "stands_on", "rests_on", value="arguments"
            ),
            finite_times("asked_at", "run_at", "approved_at", "ended_at"),
        )

    def __str__(self) -> str:
        return self.key

    @property
    def key(self) -> str:
        """What the terminal and the pages call it."""
        return str(self.pk)

    @property
    def is_due(self) -> bool:
        """Whether the next run of the jobs runs it."""
        return self._is_due_for(timedelta(0))

    @property
    def is_overdue(self) -> bool:
        """Whether it is due for longer than OVERDUE_AFTER."""
        return self._is_due_for(self.OVERDUE_AFTER)

    def _is_due_for(self, time: timedelta) -> bool:
        if self.state != self.State.WAITING or self.run_at is None:
            return False
        return aware(timezone.now()) - aware(self.run_at) > time

    @property
    def will_not_run(self) -> bool:
        """Whether it has ended, or something stands in its way."""
        return bool(self.obstacle) or self.state not in self.OPEN

    @property
    def never_runs(self) -> bool:
        """Whether it has ended, or nothing can change that it will not run."""
        return self.is_over or self.state not in self.OPEN

    @property
    def can_be_asked_again(self) -> bool:
        """Whether a person may want it, and it does not run."""
        return self.state in self.PROBLEMS or bool(self.obstacle)

    @property
    def needs_attention(self) -> bool:
        """Whether a person has to look at it."""
        return self.can_be_asked_again or self.is_overdue

    @property
    def shown_state(self) -> tuple[str, str]:
        """The name of its colour, and its label."""
        if self.obstacle:
            return self.State.FAILED, str(say("will not run").lazy)
        if self.is_overdue:
            return "overdue", str(say("overdue").lazy)
        label = say("due now").lazy if self.is_due else self.get_state_display()
        return self.state, str(label)
