"""Experiments, their events, and the exposures that workers write.

Times of events are those of the database's clock; the time of an exposure is that of the
worker's clock, which also stamps most of what metrics read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from flagstaff._text import Sentence, say
from flagstaff.base_models import finite_times, readable_json
from flagstaff.exceptions import InvalidExperimentError
from flagstaff.experiments.variants import valid_variants, variants_of
from flagstaff.history.deleted import EventManager, ExistingManager
from flagstaff.validators import KEY_MAX_LENGTH, UNIT_MAX_LENGTH

__all__ = [
    "Experiment",
    "ExperimentEvent",
    "Exposure",
    "LostExposures",
    "State",
    "StoredVerdict",
]


# The types of columns with JSON, and of what is in them.
_JSON_TYPES: Mapping[str, tuple[type, type | tuple[type, ...]]] = {
    "other_metrics": (list, str),
    "guardrails": (dict, (int, float)),
    "overrides": (dict, str),
    "added_metrics": (dict, str),
}


class State(models.TextChoices):
    """The state of an experiment. Only a running one gives variants by bucket and records them."""

    DRAFT = "draft", say("draft").lazy
    RUNNING = "running", say("running").lazy
    STOPPED = "stopped", say("stopped").lazy
    SHIPPED = "shipped", say("shipped").lazy


class Experiment(models.Model):
    """A question that is answered by giving each unit one of several variants.

    Change it by the functions of `flagstaff.experiments`: after the start, only `grow`,
    `add_metric` and `force` keep its results valid.
    """

    key: models.Field[Any, str] = models.CharField(max_length=KEY_MAX_LENGTH, unique=True)
    description: models.Field[Any, str] = models.TextField(default="", db_default="")
    state: models.Field[Any, str] = models.CharField(
        say("state").lazy, max_length=16, choices=State.choices, default=State.DRAFT
    )
    #: Objects with `key` and `weight`. The first one is the control.
    variants: models.Field[Any, Any] = models.JSONField()
    traffic_percent: models.Field[Any, int] = models.PositiveSmallIntegerField(
        default=100, db_default=100
    )
    bucket_by: models.Field[Any, str] = models.CharField(
        max_length=UNIT_MAX_LENGTH, default="user", db_default="user"
    )
    rules: models.Field[Any, Any] = models.JSONField(default=list)
    #: The key of the variant by unit. These units are not analysed.
    overrides: models.Field[Any, Any] = models.JSONField(default=dict)
    #: The name of the metric that decides; empty as long as there is none.
    primary_metric: models.Field[Any, str] = models.CharField(
        max_length=KEY_MAX_LENGTH, default="", db_default=""
    )
    #: The names of other metrics. Together with the primary one they are corrected by Holm.
    other_metrics: models.Field[Any, Any] = models.JSONField(default=list)
    #: The tolerated harm by the name of the metric, in its unit. A guardrail can only stop.
    guardrails: models.Field[Any, Any] = models.JSONField(default=dict)
    #: When a metric was added after the start, as ISO 8601, by name. Only units that were exposed
    #: from then on count for it.
    added_metrics: models.Field[Any, Any] = models.JSONField(default=dict)
    #: The units of all variants together for which results are planned.
    planned_units: models.Field[Any, int] = models.PositiveBigIntegerField(default=10_000)
    min_days: models.Field[Any, int] = models.PositiveSmallIntegerField(default=7)
    #: Of each variant.
    min_units: models.Field[Any, int] = models.PositiveIntegerField(default=100)
    #: Effects below are too small to matter, in the unit of the primary metric.
    smallest_effect: models.Field[Any, float | None] = models.FloatField(null=True)
    #: How often it was restarted. A restart gives all units other buckets.
    run: models.Field[Any, int] = models.PositiveIntegerField(default=0, db_default=0)
    #: The variant that was shipped; empty without one.
    winner: models.Field[Any, str] = models.CharField(
        max_length=KEY_MAX_LENGTH, default="", db_default=""
    )
    #: The report as it was when the experiment was shipped, or its exposures were deleted.
    frozen_report: models.Field[Any, Any] = models.JSONField(null=True)
    #: Without its exposures, an experiment cannot run again.
    exposures_deleted_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    created_at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())
    #: The start of the present run; None for a draft.
    started_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    #: The same, later by the time for which the run was stopped.
    runs_since: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    ended_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)

    objects = ExistingManager["Experiment"]()

    class Meta:
        verbose_name = say("experiment").lazy
        verbose_name_plural = say("experiments").lazy
        ordering = ("-id",)
        constraints = (
            finite_times(
                "exposures_deleted_at",
                "created_at",
                "started_at",
                "runs_since",
                "ended_at",
            ),
            readable_json("rules", "overrides"),
            models.CheckConstraint(
                condition=Q(traffic_percent__gte=0, traffic_percent__lte=100),
                name="flagstaff_experiments_traffic_percent",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.SHIPPED) | ~Q(winner=""),
                name="flagstaff_experiments_winner",
            ),
        )

    def __str__(self) -> str:
        return self.key

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics: the primary one, others, guardrails."""
        primary = [self.primary_metric] if self.primary_metric else []
        return [*primary, *self.other_metrics, *self.guardrails]

    @property
    def problem(self) -> Sentence | None:
        """Why the settings cannot be read, as after a change with SQL; or None."""
        try:
            valid_variants(variants_of(self.variants))
        except InvalidExperimentError as error:
            return say("the experiment cannot be read: {why}", why=error.message)
        except (KeyError, TypeError):
            return _unreadable("variants")
        for column, (outer, inner) in _JSON_TYPES.items():
            stored = getattr(self, column)
            values = stored.values() if isinstance(stored, dict) else stored
            if not (
                isinstance(stored, outer) and all(isinstance(value, inner) for value in values)
            ):
                return _unreadable(column)
        return None


def _unreadable(column: str) -> Sentence:
    return say(
        "the experiment cannot be read: the column {column} has JSON of another type", column=column
    )


class ExperimentEvent(models.Model):
    """Something that happened to an experiment."""

    class Kind(models.TextChoices):
        CREATED = "created", say("created").lazy
        EDITED = "edited", say("edited").lazy
        STARTED = "started", say("started").lazy
        GROWN = "grown", say("grown").lazy
        RESTARTED = "restarted", say("restarted").lazy
        STOPPED = "stopped", say("stopped").lazy
        SHIPPED = "shipped", say("shipped").lazy
        UNDONE = "undone", say("undone").lazy
        MOVED = "moved", say("other users").lazy
        DELETED = "deleted", say("deleted").lazy

    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="events")
    at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())
    kind: models.Field[Any, str] = models.CharField(max_length=16, choices=Kind.choices)
    #: In English.
    message: models.Field[Any, str] = models.TextField()
    #: Of a stop or a ship, what `undo` restores.
    before: models.Field[Any, Any] = models.JSONField(null=True)
    reason: models.Field[Any, str] = models.TextField(default="")
    actor: models.Field[Any, str] = models.TextField(default="")

    objects = EventManager["ExperimentEvent"]()

    class Meta:
        default_permissions = ()
        verbose_name = say("experiment event").lazy
        verbose_name_plural = say("experiment events").lazy
        ordering = ("id",)
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return self.message


class Exposure(models.Model):
    """The first time that a unit met a variant. Workers write it."""

    pk = models.CompositePrimaryKey("experiment_id", "run", "unit", "variant")
    experiment = models.ForeignKey(
        Experiment, models.CASCADE, related_name="exposures", db_index=False
    )
    run: models.Field[Any, int] = models.PositiveIntegerField()
    unit: models.Field[Any, str] = models.TextField()
    variant: models.Field[Any, str] = models.TextField()
    #: The primary key of the user as text, of a unit that is not the user; None if it is unknown.
    user_pk: models.Field[Any, str | None] = models.TextField(null=True)  # noqa: DJ001
    at: models.Field[Any, datetime] = models.DateTimeField()
    #: Of a visitor: whether the browser has sent the cookie back. Reports show it, and never select
    #: by it: a variant can make browsers leave.
    returned: models.Field[Any, bool] = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        indexes = (
            # For users who are forgotten.
            models.Index(
                F("user_pk"), condition=Q(user_pk__isnull=False), name="flagstaff_exposure_user"
            ),
        )
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return f"{self.unit}: {self.variant}"


class LostExposures(models.Model):
    """How many exposures of an experiment workers could not write, or had to leave out."""

    experiment = models.OneToOneField(
        Experiment, models.CASCADE, primary_key=True, related_name="lost_exposures"
    )
    count: models.Field[Any, int] = models.BigIntegerField()
    #: New visitors above the limit of an hour, which got the default.
    left_out: models.Field[Any, int] = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.count} exposures"


class StoredVerdict(models.Model):
    """The verdict on a running experiment at a time. `run-jobs` computes it once an hour."""

    experiment = models.OneToOneField(
        Experiment, models.CASCADE, primary_key=True, related_name="stored_verdict"
    )
    #: The run of the experiment at that time.
    run: models.Field[Any, int] = models.PositiveIntegerField()
    #: The outcomes by treatment; empty if there is no verdict.
    outcomes: models.Field[Any, Any] = models.JSONField(default=dict)
    #: Why there is none, in English.
    problem: models.Field[Any, str] = models.TextField(default="")
    at: models.Field[Any, datetime] = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return f"verdict at {self.at}"


#: The models whose tables the engine uses, by placeholder.
TABLES = {
    "experiment_table": Experiment,
    "exposure_table": Exposure,
    "lost_exposures_table": LostExposures,
}
