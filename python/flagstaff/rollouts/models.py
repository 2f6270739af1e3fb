"""Plans, their steps and events, and the signals that workers write. No other app refers to them.

All times are those of the database's clock.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from flagstaff._words.text import Text
from flagstaff.base_models import finite_times
from flagstaff.validators import KEY_MAX_LENGTH

__all__ = [
    "ACTIVE_STATES",
    "WATCHED_STATES",
    "DriverRun",
    "FailedNetwork",
    "FailedUnit",
    "Plan",
    "PlanEvent",
    "ReasonKind",
    "SeenRegister",
    "SignalCount",
    "State",
    "StepRun",
    "new_salt",
    "state_text",
]

_SALT_BYTES = 16


class State(models.TextChoices):
    """The state of a plan. A plan that is holding ends by itself; a paused one needs a person."""

    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    HOLDING = "holding", _("holding")
    PAUSED = "paused", _("paused")
    DONE = "done", _("done")
    ROLLED_BACK = "rolled_back", _("rolled back")


def state_text(state: str) -> Text:
    """Returns the name of a state for messages. SQL may have written an unknown one."""
    return Text(state.replace("_", " "))


class ReasonKind(models.TextChoices):
    """Why a plan needs a person. It has none if it goes on, or if a person has stopped it."""

    HELD = "held"
    #: By the driver, because the flag was changed.
    PAUSED = "paused"
    #: Until the rollback, the trip is only stored.
    TRIPPED = "tripped"


#: A flag has at most one plan in one of these states.
ACTIVE_STATES = (State.PENDING, State.RUNNING, State.HOLDING, State.PAUSED)
#: The states in which a driver watches a plan.
WATCHED_STATES = (State.RUNNING, State.HOLDING)


def new_salt() -> bytes:
    """Returns the random bytes that workers hash users with."""
    return secrets.token_bytes(_SALT_BYTES)


class Plan(models.Model):
    """A schedule of rollout steps for one flag, with guards that hold it or roll it back."""

    # By text, because the flag model may be the project's own, with a key of any type.
    flag_pk: models.Field[Any, str] = models.TextField(_("primary key of the flag"))
    key: models.Field[Any, str] = models.CharField(_("key"), max_length=KEY_MAX_LENGTH)
    state: models.Field[Any, str] = models.CharField(
        _("state"), max_length=16, choices=State.choices, default=State.PENDING
    )
    #: Objects with `percent` and `seconds`; see flagstaff.rollouts.steps.
    steps: models.Field[Any, Any] = models.JSONField(_("steps"))
    #: Objects with a `kind`; see flagstaff.rollouts.guards.
    guards: models.Field[Any, Any] = models.JSONField(_("guards"), default=list, blank=True)
    required_users: models.Field[Any, int] = models.PositiveIntegerField(
        _("required users"), default=1000
    )
    #: The index of the present step; None before the start.
    step: models.Field[Any, int | None] = models.PositiveSmallIntegerField(
        _("step"), null=True, blank=True
    )
    due_at: models.Field[Any, datetime | None] = models.DateTimeField(
        _("due at"), null=True, blank=True
    )
    #: What is left of the dwell time while the plan is paused.
    seconds_left: models.Field[Any, float | None] = models.FloatField(
        _("seconds left"), null=True, blank=True
    )
    #: The version of the flag that the plan saw or wrote last. None without a history.
    flag_version: models.Field[Any, int | None] = models.BigIntegerField(
        _("version of the flag"), null=True, blank=True
    )
    #: A digest of what decides who has the flag, as the plan saw or wrote it last; see
    #: flagstaff.rollouts.flag_changes.
    seen_flag: models.Field[Any, str] = models.CharField(
        _("flag as last seen"), max_length=64, default="", db_default="", blank=True
    )
    #: The StepRun that workers count for; None if they do not measure.
    run_id: models.Field[Any, int | None] = models.BigIntegerField(
        _("present run"), null=True, blank=True
    )
    #: The limits of latency guards in seconds, by the number of the guard. Workers read them.
    latency_limits: models.Field[Any, Any] = models.JSONField(
        _("latency limits"), default=dict, blank=True
    )
    salt: models.Field[Any, bytes] = models.BinaryField(
        max_length=_SALT_BYTES, default=new_salt, editable=False
    )
    #: Until when a driver watches the plan. Workers report a later time as unguarded.
    guarded_until: models.Field[Any, datetime | None] = models.DateTimeField(
        _("guarded until"), null=True, blank=True
    )
    #: The StepRun in which a guard tripped, until the rollback; see flagstaff.rollouts.trips.
    trip_run_id: models.Field[Any, int | None] = models.BigIntegerField(
        _("run of the trip"), null=True, blank=True
    )
    #: The trip, until a person acts on it; see flagstaff.rollouts.advance.figures_of.
    trip_reason: models.Field[Any, str] = models.TextField(
        _("reason of the trip"), default="", blank=True
    )
    trip_figures: models.Field[Any, Any] = models.JSONField(
        _("figures of the trip"), null=True, blank=True
    )
    #: Why the plan is in its state: an English text, or what a person has written.
    reason: models.Field[Any, str] = models.TextField(_("reason"), default="", blank=True)
    reason_kind: models.Field[Any, str] = models.CharField(
        _("kind"), max_length=16, choices=ReasonKind.choices, default="", db_default="", blank=True
    )
    actor: models.Field[Any, str] = models.TextField(_("actor"), default="", blank=True)
    #: Whether a step goes on if a new release appears.
    ignore_releases: models.Field[Any, bool] = models.BooleanField(
        _("ignore releases"), default=False, db_default=False
    )
    created_at: models.Field[Any, datetime] = models.DateTimeField(
        _("created at"), db_default=Now(), editable=False
    )
    changed_at: models.Field[Any, datetime] = models.DateTimeField(
        _("changed at"), db_default=Now(), editable=False
    )
    ended_at: models.Field[Any, datetime | None] = models.DateTimeField(
        _("ended at"), null=True, blank=True
    )

    class Meta:
        verbose_name = _("rollout plan")
        verbose_name_plural = _("rollout plans")
        ordering = ("-id",)
        constraints = (
            finite_times(
                "due_at",
                "guarded_until",
                "created_at",
                "changed_at",
                "ended_at",
            ),
            models.UniqueConstraint(
                fields=["flag_pk"],
                condition=Q(state__in=ACTIVE_STATES),
                name="flagstaff_rollouts_one_active_plan",
            ),
        )

    def __str__(self) -> str:
        return self.key

    @property
    def version(self) -> str:
        """A text that differs for another plan, state, step or run, and after a trip."""
        parts = (self.pk, self.state, self.step, self.run_id, self.trip_run_id)
        return "-".join(map(str, parts))

    @property
    def has_tripped(self) -> bool:
        """Whether a trip is stored that was not carried out, and no newer run has begun."""
        return self.trip_run_id is not None and self.run_id in {None, self.trip_run_id}


class StepRun(models.Model):
    """One stretch of measuring at one percentage, interrupted while the plan is paused."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="runs", verbose_name=_("plan"))
    #: None: measured before the start.
    step: models.Field[Any, int | None] = models.PositiveSmallIntegerField(_("step"), null=True)
    percent: models.Field[Any, int] = models.PositiveSmallIntegerField(_("percent"))
    started_at: models.Field[Any, datetime] = models.DateTimeField(
        _("started at"), db_default=Now()
    )
    ended_at: models.Field[Any, datetime | None] = models.DateTimeField(_("ended at"), null=True)
    #: Counts the runs of the step from 1; see flagstaff.rollouts.alpha.
    number: models.Field[Any, int] = models.PositiveIntegerField(
        _("number"), default=1, db_default=1
    )
    #: The releases of the workers that measured when it began; None if none did.
    releases: models.Field[Any, Any] = models.JSONField(_("releases"), null=True)

    class Meta:
        verbose_name = _("step run")
        verbose_name_plural = _("step runs")
        ordering = ("id",)
        constraints = (finite_times("started_at", "ended_at"),)

    def __str__(self) -> str:
        return f"run {self.pk} at {self.percent} %"


class PlanEvent(models.Model):
    """Something that happened to a plan, with an English text for people."""

    class Kind(models.TextChoices):
        CREATED = "created", _("created")
        ENABLED = "enabled", _("turned on")
        STARTED = "started", _("started")
        STEP = "step", _("step")
        HELD = "held", _("held")
        CONTINUED = "continued", _("continued")
        PAUSED = "paused", _("paused")
        RESUMED = "resumed", _("resumed")
        TRIPPED = "tripped", _("tripped")
        ROLLED_BACK = "rolled_back", _("rolled back")
        PROPAGATED = "propagated", _("propagated")
        DONE = "done", _("done")

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="events", verbose_name=_("plan"))
    at: models.Field[Any, datetime] = models.DateTimeField(_("at"), db_default=Now())
    kind: models.Field[Any, str] = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    message: models.Field[Any, str] = models.TextField(_("message"))
    actor: models.Field[Any, str] = models.TextField(_("actor"), default="", blank=True)
    figures: models.Field[Any, Any] = models.JSONField(_("figures"), default=dict, blank=True)

    class Meta:
        verbose_name = _("plan event")
        verbose_name_plural = _("plan events")
        ordering = ("id",)
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return self.message


class DriverRun(models.Model):
    """The last run of the driver. The table has one row, with the primary key 1."""

    last_run_at: models.Field[Any, datetime] = models.DateTimeField(
        _("last run at"), db_default=Now()
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("driver run")
        verbose_name_plural = _("driver runs")
        constraints = (finite_times("last_run_at"),)

    def __str__(self) -> str:
        return f"last run of the driver at {self.last_run_at}"


class SignalCount(models.Model):
    """Requests and tasks of a run by what became of them. Workers add to the count."""

    class Kind(models.TextChoices):
        REQUESTS = "r", _("requests and tasks")
        FAILED = "f", _("failed a guard")
        DROPPED = "d", _("dropped")

    run = models.ForeignKey(StepRun, models.CASCADE, related_name="counts")
    #: Whether the user is inside the rollout.
    inside: models.Field[Any, bool] = models.BooleanField()
    kind: models.Field[Any, str] = models.CharField(max_length=1, choices=Kind.choices)
    #: The number of the guard or of the bucket; 0 for requests.
    number: models.Field[Any, int] = models.SmallIntegerField(default=0)
    count: models.Field[Any, int] = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["run", "inside", "kind", "number"],
                name="flagstaff_rollouts_signal_count",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.count}"


class SeenRegister(models.Model):
    """A register of the HyperLogLog of the users that were evaluated in a run."""

    run = models.ForeignKey(StepRun, models.CASCADE, related_name="registers")
    inside: models.Field[Any, bool] = models.BooleanField()
    #: Whether others of their networks came first, so that these users do not count.
    left_out: models.Field[Any, bool] = models.BooleanField(default=False, db_default=False)
    register: models.Field[Any, int] = models.SmallIntegerField()
    rank: models.Field[Any, int] = models.SmallIntegerField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["run", "inside", "left_out", "register"],
                name="flagstaff_rollouts_seen_register",
            ),
        )

    def __str__(self) -> str:
        return f"register {self.register}: {self.rank}"


class FailedUnit(models.Model):
    """The first failure of a user in a run. A user is a salted hash."""

    run = models.ForeignKey(StepRun, models.CASCADE, related_name="failed_units")
    guard: models.Field[Any, int] = models.SmallIntegerField()
    unit: models.Field[Any, int] = models.BigIntegerField()
    inside: models.Field[Any, bool] = models.BooleanField()
    #: Whether the cookie of a visitor is younger than the run; None for other units.
    is_new: models.Field[Any, bool | None] = models.BooleanField(null=True)
    #: False if another user of the network failed first.
    is_counted: models.Field[Any, bool] = models.BooleanField(default=True, db_default=True)
    at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = (
            finite_times("at"),
            models.UniqueConstraint(
                fields=["run", "guard", "unit"], name="flagstaff_rollouts_failed_unit"
            ),
        )

    def __str__(self) -> str:
        return f"guard {self.guard}: {self.unit}"


class FailedNetwork(models.Model):
    """A network of which a failing user counts in a run. A network is a salted hash."""

    run = models.ForeignKey(StepRun, models.CASCADE, related_name="failed_networks")
    guard: models.Field[Any, int] = models.SmallIntegerField()
    network: models.Field[Any, int] = models.IntegerField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["run", "guard", "network"], name="flagstaff_rollouts_failed_network"
            ),
        )

    def __str__(self) -> str:
        return f"guard {self.guard}: network {self.network}"


#: The models whose tables the engine uses, by placeholder.
TABLES = {
    "plan_table": Plan,
    "step_run_table": StepRun,
    "signal_count_table": SignalCount,
    "seen_register_table": SeenRegister,
    "failed_unit_table": FailedUnit,
    "failed_network_table": FailedNetwork,
}
