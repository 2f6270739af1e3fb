"""Plans, their steps and events, and the signals that workers write. No other app refers to them.

All times are those of the database's clock.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import DateTimeField, Func, Q, QuerySet
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler
from django.utils.functional import cached_property

from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow, all_rows
from flagstaff._text import Sentence, say
from flagstaff.base_models import finite_times
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.history.deleted import EventManager, ExistingManager
from flagstaff.rollouts.steps_and_guards import Guard, Step, parse_guards, parse_steps
from flagstaff.validators import KEY_MAX_LENGTH

#: A plan is unguarded if no driver has run for this time.
GUARDED_FOR = timedelta(minutes=5)
#: The member of an event's figures with the version of the flag that the event has written.
FLAG_VERSION = "flag_version"
#: The actor of what run-jobs does to a plan.
ACTOR = "rollout plan"
_SALT_BYTES = 16


class ClockTimestamp(Func):
    """The present time of the database. Now() is the time at which a statement starts."""

    template = "CURRENT_TIMESTAMP"
    arity = 0
    output_field = DateTimeField()

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        """Returns the SQL for PostgreSQL."""
        return self.as_sql(compiler, connection, template="pg_catalog.clock_timestamp()", **context)


def database_now() -> datetime:
    """Returns the time of PostgreSQL's clock. Makes a query."""
    with db.connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


class State(models.TextChoices):
    """The state of a plan. A plan that is holding ends by itself; a paused one needs a person."""

    PENDING = "pending", say("pending").lazy
    RUNNING = "running", say("running").lazy
    HOLDING = "holding", say("holding").lazy
    PAUSED = "paused", say("paused").lazy
    DONE = "done", say("done").lazy
    ROLLED_BACK = "rolled_back", say("rolled back").lazy


def state_text(state: str) -> Sentence:
    """Returns the name of a state for messages."""
    return say(state.replace("_", " "))


#: A flag has at most one plan in one of these states.
ACTIVE_STATES = (State.PENDING, State.RUNNING, State.HOLDING, State.PAUSED)
#: The states in which a driver watches a plan.
WATCHED_STATES = (State.RUNNING, State.HOLDING)
# The states in which a plan waits for something that a person should look at.
_STOPPED_STATES = (State.HOLDING, State.PAUSED)


def new_salt() -> bytes:
    """Returns the random bytes that workers hash users with."""
    return secrets.token_bytes(_SALT_BYTES)


class PlanManager(ExistingManager["Plan"]):
    """The plans in the flags' database that were not deleted.

    Each has the time of the database's clock when it was read.
    """

    def get_queryset(self) -> QuerySet[Plan]:
        # For mypy, an annotation must not have the name of an attribute.
        time = {"now": ClockTimestamp()}
        return self._existing().annotate(**time)

    def locked(self, *, skip_locked: bool = False) -> QuerySet[Plan]:
        """Returns the plans, which stay locked. Their time is read after the wait for the lock."""
        return self._existing().select_for_update(skip_locked=skip_locked)

    def _existing(self) -> QuerySet[Plan]:
        return super().get_queryset().using(db.alias)

    def active(self) -> QuerySet[Plan]:
        """Returns the plans that have not ended."""
        return self.filter(state__in=ACTIVE_STATES)

    def unguarded(self) -> QuerySet[Plan]:
        """Returns the plans that no driver watches, as `Plan.is_unguarded`."""
        is_over = Q(guarded_until=None) | Q(guarded_until__lt=ClockTimestamp())
        return self.filter(is_over, state__in=WATCHED_STATES)

    def needing_attention(self) -> QuerySet[Plan]:
        """Returns the plans that need a person, without those that have a newer plan."""
        newer = self.filter(flag_pk=models.OuterRef("flag_pk"), pk__gt=models.OuterRef("pk"))
        has_tripped = ~Q(trip_reason="") & ~models.Exists(newer)
        return self.filter(has_tripped | Q(state__in=_STOPPED_STATES))


class Plan(models.Model):
    """A schedule of rollout steps for one flag, with guards that hold it or roll it back."""

    # By text, because the flag model may be the project's own, with a key of any type.
    flag_pk: models.Field[Any, str] = models.TextField()
    key: models.Field[Any, str] = models.CharField(max_length=KEY_MAX_LENGTH)
    state: models.Field[Any, str] = models.CharField(
        say("state").lazy, max_length=16, choices=State.choices, default=State.PENDING
    )
    #: Texts such as "5:1h"; see flagstaff.rollouts.steps_and_guards.
    steps: models.Field[Any, Any] = models.JSONField()
    #: Texts such as "errors"; see flagstaff.rollouts.steps_and_guards.
    guards: models.Field[Any, Any] = models.JSONField(default=list)
    required_users: models.Field[Any, int] = models.PositiveIntegerField(default=1000)
    #: The index of the present step; None before the start.
    step: models.Field[Any, int | None] = models.PositiveSmallIntegerField(null=True)
    due_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    #: What is left of the dwell time while the plan is paused.
    seconds_left: models.Field[Any, float | None] = models.FloatField(null=True)
    #: The version of the flag that the plan saw or wrote last. None without a history.
    flag_version: models.Field[Any, int | None] = models.BigIntegerField(null=True)
    #: A digest of what decides who has the flag, as the plan saw or wrote it last; see
    #: flagstaff.rollouts.transitions.
    seen_flag: models.Field[Any, str] = models.CharField(max_length=64, default="")
    #: The StepRun that workers count for; None if they do not measure.
    run_id: models.Field[Any, int | None] = models.BigIntegerField(null=True)
    #: The limits of latency guards in seconds, by the number of the guard. Workers read them.
    latency_limits: models.Field[Any, Any] = models.JSONField(default=dict)
    #: What workers hash users with.
    salt: models.Field[Any, bytes] = models.BinaryField(max_length=_SALT_BYTES, default=new_salt)
    #: Until when a driver watches the plan. Workers report a later time as unguarded.
    guarded_until: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    #: The StepRun in which a guard tripped, until the rollback; see flagstaff.rollouts.driver.
    trip_run_id: models.Field[Any, int | None] = models.BigIntegerField(null=True)
    #: Why it tripped, and the figures of that time, until a person acts on the trip.
    trip_reason: models.Field[Any, str] = models.TextField(default="")
    trip_figures: models.Field[Any, Any] = models.JSONField(null=True)
    #: Why the plan is in its state: an English text, or what a person has written.
    reason: models.Field[Any, str] = models.TextField(default="")
    actor: models.Field[Any, str] = models.TextField(default="")
    #: What is compared: "users", "requests", or both if empty.
    compare: models.Field[Any, str] = models.CharField(max_length=8, default="", db_default="")
    #: Whether a step goes on if a new release appears.
    ignore_releases: models.Field[Any, bool] = models.BooleanField(default=False)
    ended_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)

    objects = PlanManager()

    class Meta:
        verbose_name = say("rollout plan").lazy
        verbose_name_plural = say("rollout plans").lazy
        ordering = ("-id",)
        constraints = (
            finite_times("due_at", "guarded_until", "ended_at"),
            models.UniqueConstraint(
                fields=["flag_pk"],
                condition=Q(state__in=ACTIVE_STATES),
                name="flagstaff_rollouts_one_active_plan",
            ),
        )

    def __str__(self) -> str:
        return self.key

    @cached_property
    def now(self) -> datetime:
        """The time of the database's clock: when the plan was read, or else at the first use."""
        return database_now()

    @cached_property
    def own_flag(self) -> FlagRow | None:
        """The flag by its primary key, also if it was renamed; None if it was deleted."""
        return self._read_flag(all_rows(conf.flag_model))

    @property
    def flag(self) -> FlagRow | None:
        """The same; None if it was renamed."""
        flag = self.own_flag
        return flag if flag is not None and flag.key == self.key else None

    def locked_flag(self) -> FlagRow | None:
        """Returns the flag as `own_flag`, locked. Makes a query."""
        return self._read_flag(all_rows(conf.flag_model).select_for_update())

    def _read_flag(self, rows: QuerySet[Any]) -> FlagRow | None:
        try:
            return cast("FlagRow | None", rows.filter(pk=self.flag_pk).first())
        except (ValueError, ValidationError):  # a primary key of another FLAG_MODEL
            return None

    @property
    def version(self) -> str:
        """A text that differs for another plan, state, step or run, and after a trip."""
        parts = (self.pk, self.state, self.step, self.run_id, self.trip_run_id)
        return "-".join(map(str, parts))

    @property
    def has_tripped(self) -> bool:
        """Whether a trip is stored that was not carried out, and no newer run has begun."""
        return self.trip_run_id is not None and self.run_id in {None, self.trip_run_id}

    @property
    def is_unguarded(self) -> bool:
        """Whether no driver has watched a running or holding plan for five minutes."""
        until = self.guarded_until
        return self.state in WATCHED_STATES and (until is None or until < self.now)

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look at the plan, unless the flag has a newer one."""
        return self.is_unguarded or self.state in _STOPPED_STATES or self.trip_reason != ""

    def read_steps(self) -> tuple[Step, ...]:
        """Returns the steps."""
        return parse_steps(self.steps)

    def read_guards(self) -> tuple[Guard, ...]:
        """Returns the guards. Does not import their functions."""
        return parse_guards(self.guards)

    @property
    def problem(self) -> Sentence | None:
        """Why the steps or the guards cannot be read, as after a change with SQL; or None."""
        try:
            self.read_guards()
            self.read_steps()[self.step or 0]
        except InvalidPlanError as error:
            return say("the plan cannot be read: {why}", why=error.message)
        except IndexError:
            number = (self.step or 0) + 1
            return say("the plan cannot be read: it has no step {number}", number=number)
        except (AttributeError, TypeError):
            return say("the plan cannot be read: its steps and guards are not two lists of texts")
        return None

    @property
    def percent(self) -> int | None:
        """The percentage of the present step; None before the start or if it cannot be read."""
        if self.step is None or self.problem:
            return None
        return self.read_steps()[self.step].percent


class StepRun(models.Model):
    """One stretch of measuring at one percentage, interrupted while the plan is paused."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="runs")
    #: None: measured before the start.
    step: models.Field[Any, int | None] = models.PositiveSmallIntegerField(null=True)
    percent: models.Field[Any, int] = models.PositiveSmallIntegerField()
    started_at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())
    ended_at: models.Field[Any, datetime | None] = models.DateTimeField(null=True)
    #: Counts the runs of the step from 1; see flagstaff.rollouts.statistics.
    number: models.Field[Any, int] = models.PositiveIntegerField(default=1)
    #: How many tenths of the dwell time were over when a driver last looked.
    tenth: models.Field[Any, int] = models.SmallIntegerField(default=0, db_default=0)
    #: The releases of the workers that measured when it began; None if none did.
    releases: models.Field[Any, Any] = models.JSONField(null=True)

    class Meta:
        ordering = ("id",)
        constraints = (finite_times("started_at", "ended_at"),)

    def __str__(self) -> str:
        return f"run {self.pk} at {self.percent} %"


class PlanEvent(models.Model):
    """Something that happened to a plan, with an English text for people."""

    class Kind(models.TextChoices):
        CREATED = "created", say("created").lazy
        STARTED = "started", say("started").lazy
        STEP = "step", say("step").lazy
        HELD = "held", say("held").lazy
        CONTINUED = "continued", say("continued").lazy
        PAUSED = "paused", say("paused").lazy
        RESUMED = "resumed", say("resumed").lazy
        TRIPPED = "tripped", say("tripped").lazy
        ROLLED_BACK = "rolled_back", say("rolled back").lazy
        PROPAGATED = "propagated", say("propagated").lazy
        DONE = "done", say("done").lazy
        DELETED = "deleted", say("deleted").lazy

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="events")
    at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())
    kind: models.Field[Any, str] = models.CharField(max_length=16, choices=Kind.choices)
    message: models.Field[Any, str] = models.TextField()
    actor: models.Field[Any, str] = models.TextField(default="")
    figures: models.Field[Any, Any] = models.JSONField(default=dict)

    objects = EventManager["PlanEvent"]()

    class Meta:
        verbose_name = say("plan event").lazy
        verbose_name_plural = say("plan events").lazy
        ordering = ("id",)
        constraints = (finite_times("at"),)

    def __str__(self) -> str:
        return self.message

    @property
    def is_automatic(self) -> bool:
        """Whether run-jobs made it, and no person."""
        return bool(self.actor == ACTOR)

    @property
    def written_version(self) -> object:
        """The version of the flag that the event's transaction has written; None if of none."""
        # SQL may write any JSON.
        return self.figures.get(FLAG_VERSION) if isinstance(self.figures, dict) else None


class DriverRun(models.Model):
    """The last run of the driver. The table has one row, with the primary key 1."""

    last_run_at: models.Field[Any, datetime] = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = (finite_times("last_run_at"),)

    def __str__(self) -> str:
        return f"last run of the driver at {self.last_run_at}"

    @classmethod
    def is_recent(cls) -> bool:
        """Whether a driver has run in the last five minutes. Makes a query."""
        runs = cls.objects.using(db.alias)
        return bool(runs.filter(last_run_at__gte=ClockTimestamp() - GUARDED_FOR).exists())


class _OfRun(models.Model):
    """What workers write for a run."""

    run = models.ForeignKey(StepRun, models.CASCADE, related_name="+")

    class Meta:
        abstract = True
        default_permissions = ()

    def __str__(self) -> str:
        return f"row {self.pk} of run {self.run_id}"


def _once_in_a_run(name: str, *fields: str) -> tuple[models.UniqueConstraint]:
    constraint = models.UniqueConstraint(fields=["run", *fields], name=f"flagstaff_rollouts_{name}")
    return (constraint,)


class SignalCount(_OfRun):
    """Requests and tasks of a run by what became of them. Workers add to the count."""

    class Kind(models.TextChoices):
        REQUESTS = "r"
        #: Of users who had not failed the guard with this number, as far as their worker knew; at
        #: most 64 of each user.
        AT_RISK = "a"
        #: Those of these that failed it.
        FAILED = "f"
        DROPPED = "d"

    #: Whether the user is inside the rollout.
    inside: models.Field[Any, bool] = models.BooleanField()
    kind: models.Field[Any, str] = models.CharField(max_length=1)
    #: The number of the guard; 0 for requests.
    number: models.Field[Any, int] = models.SmallIntegerField(default=0)
    #: The tenth of the run in which they were written.
    tenth: models.Field[Any, int] = models.SmallIntegerField(default=0, db_default=0)
    count: models.Field[Any, int] = models.BigIntegerField()

    class Meta(_OfRun.Meta):
        constraints = _once_in_a_run("signal_count", "inside", "kind", "number", "tenth")


class SeenRegister(_OfRun):
    """A register of the HyperLogLog of the users that were evaluated in a run."""

    inside: models.Field[Any, bool] = models.BooleanField()
    #: Whether others of their networks came first, so that these users do not count.
    left_out: models.Field[Any, bool] = models.BooleanField(default=False)
    register: models.Field[Any, int] = models.SmallIntegerField()
    rank: models.Field[Any, int] = models.SmallIntegerField()

    class Meta(_OfRun.Meta):
        constraints = _once_in_a_run("seen_register", "inside", "left_out", "register")


class FailedUnit(_OfRun):
    """The first failure of a user in a run. A user is a salted hash."""

    guard: models.Field[Any, int] = models.SmallIntegerField()
    unit: models.Field[Any, int] = models.BigIntegerField()
    inside: models.Field[Any, bool] = models.BooleanField()
    #: The tenth of the run in which it was written.
    tenth: models.Field[Any, int] = models.SmallIntegerField(default=0, db_default=0)
    #: Whether the cookie of a visitor is younger than the run; None for other units.
    is_new: models.Field[Any, bool | None] = models.BooleanField(null=True)
    #: False if another user of the network failed first.
    is_counted: models.Field[Any, bool] = models.BooleanField(default=True)

    class Meta(_OfRun.Meta):
        constraints = _once_in_a_run("failed_unit", "guard", "unit")


class FailedNetwork(_OfRun):
    """A network of which a failing user counts in a run. A network is a salted hash."""

    guard: models.Field[Any, int] = models.SmallIntegerField()
    network: models.Field[Any, int] = models.IntegerField()

    class Meta(_OfRun.Meta):
        constraints = _once_in_a_run("failed_network", "guard", "network")


#: The models whose tables the engine uses, by placeholder.
TABLES = {
    "plan_table": Plan,
    "step_run_table": StepRun,
    "signal_count_table": SignalCount,
    "seen_register_table": SeenRegister,
    "failed_unit_table": FailedUnit,
    "failed_network_table": FailedNetwork,
}
