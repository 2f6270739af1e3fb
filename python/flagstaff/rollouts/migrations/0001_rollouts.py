from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import flagstaff.rollouts.models
from flagstaff.rollouts.operations import WatchPlans


class Migration(migrations.Migration):
    initial = True

    dependencies = [("flagstaff", "0001_flagstaff")]

    operations = [
        migrations.CreateModel(
            name="DriverRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "last_run_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="last run at",
                    ),
                ),
            ],
            options={
                "verbose_name": "driver run",
                "verbose_name_plural": "driver runs",
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("last_run_at__year__gt", 1), ("last_run_at__year__lt", 9000)
                        ),
                        name="flagstaff_rollouts_driverrun_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("flag_pk", models.TextField(verbose_name="primary key of the flag")),
                ("key", models.CharField(max_length=255, verbose_name="key")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("running", "running"),
                            ("holding", "holding"),
                            ("paused", "paused"),
                            ("done", "done"),
                            ("rolled_back", "rolled back"),
                        ],
                        default="pending",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("steps", models.JSONField(verbose_name="steps")),
                ("guards", models.JSONField(blank=True, default=list, verbose_name="guards")),
                (
                    "required_users",
                    models.PositiveIntegerField(default=1000, verbose_name="required users"),
                ),
                (
                    "step",
                    models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="step"),
                ),
                ("due_at", models.DateTimeField(blank=True, null=True, verbose_name="due at")),
                (
                    "seconds_left",
                    models.FloatField(blank=True, null=True, verbose_name="seconds left"),
                ),
                (
                    "flag_version",
                    models.BigIntegerField(
                        blank=True, null=True, verbose_name="version of the flag"
                    ),
                ),
                (
                    "seen_flag",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        max_length=64,
                        verbose_name="flag as last seen",
                    ),
                ),
                (
                    "run_id",
                    models.BigIntegerField(blank=True, null=True, verbose_name="present run"),
                ),
                (
                    "latency_limits",
                    models.JSONField(blank=True, default=dict, verbose_name="latency limits"),
                ),
                (
                    "salt",
                    models.BinaryField(
                        default=flagstaff.rollouts.models.new_salt,
                        max_length=16,
                    ),
                ),
                (
                    "guarded_until",
                    models.DateTimeField(blank=True, null=True, verbose_name="guarded until"),
                ),
                (
                    "trip_run_id",
                    models.BigIntegerField(blank=True, null=True, verbose_name="run of the trip"),
                ),
                (
                    "trip_reason",
                    models.TextField(blank=True, default="", verbose_name="reason of the trip"),
                ),
                (
                    "trip_figures",
                    models.JSONField(blank=True, null=True, verbose_name="figures of the trip"),
                ),
                ("reason", models.TextField(blank=True, default="", verbose_name="reason")),
                (
                    "reason_kind",
                    models.CharField(
                        blank=True,
                        choices=[("held", "Held"), ("paused", "Paused"), ("tripped", "Tripped")],
                        db_default="",
                        default="",
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                ("actor", models.TextField(blank=True, default="", verbose_name="actor")),
                (
                    "ignore_releases",
                    models.BooleanField(
                        db_default=False, default=False, verbose_name="ignore releases"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created at",
                    ),
                ),
                (
                    "changed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="changed at",
                    ),
                ),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
            ],
            options={
                "verbose_name": "rollout plan",
                "verbose_name_plural": "rollout plans",
                "ordering": ("-id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("changed_at__year__gt", 1),
                            ("changed_at__year__lt", 9000),
                            ("created_at__year__gt", 1),
                            ("created_at__year__lt", 9000),
                            ("due_at__year__gt", 1),
                            ("due_at__year__lt", 9000),
                            ("ended_at__year__gt", 1),
                            ("ended_at__year__lt", 9000),
                            ("guarded_until__year__gt", 1),
                            ("guarded_until__year__lt", 9000),
                        ),
                        name="flagstaff_rollouts_plan_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("state__in", ("pending", "running", "holding", "paused"))
                        ),
                        fields=("flag_pk",),
                        name="flagstaff_rollouts_one_active_plan",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="at"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "created"),
                            ("enabled", "turned on"),
                            ("started", "started"),
                            ("step", "step"),
                            ("held", "held"),
                            ("continued", "continued"),
                            ("paused", "paused"),
                            ("resumed", "resumed"),
                            ("tripped", "tripped"),
                            ("rolled_back", "rolled back"),
                            ("propagated", "propagated"),
                            ("done", "done"),
                        ],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                ("message", models.TextField(verbose_name="message")),
                ("actor", models.TextField(blank=True, default="", verbose_name="actor")),
                ("figures", models.JSONField(blank=True, default=dict, verbose_name="figures")),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="flagstaff_rollouts.plan",
                        verbose_name="plan",
                    ),
                ),
            ],
            options={
                "verbose_name": "plan event",
                "verbose_name_plural": "plan events",
                "ordering": ("id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gt", 1), ("at__year__lt", 9000)),
                        name="flagstaff_rollouts_planevent_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StepRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("step", models.PositiveSmallIntegerField(null=True, verbose_name="step")),
                ("percent", models.PositiveSmallIntegerField(verbose_name="percent")),
                (
                    "started_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="started at",
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True, verbose_name="ended at")),
                (
                    "number",
                    models.PositiveIntegerField(db_default=1, default=1, verbose_name="number"),
                ),
                ("releases", models.JSONField(null=True, verbose_name="releases")),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to="flagstaff_rollouts.plan",
                        verbose_name="plan",
                    ),
                ),
            ],
            options={
                "verbose_name": "step run",
                "verbose_name_plural": "step runs",
                "ordering": ("id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ended_at__year__gt", 1),
                            ("ended_at__year__lt", 9000),
                            ("started_at__year__gt", 1),
                            ("started_at__year__lt", 9000),
                        ),
                        name="flagstaff_rollouts_steprun_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SignalCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("inside", models.BooleanField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("r", "requests and tasks"),
                            ("f", "failed a guard"),
                            ("d", "dropped"),
                        ],
                        max_length=1,
                    ),
                ),
                ("number", models.SmallIntegerField(default=0)),
                ("count", models.BigIntegerField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="counts",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "inside", "kind", "number"),
                        name="flagstaff_rollouts_signal_count",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SeenRegister",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("inside", models.BooleanField()),
                ("left_out", models.BooleanField(db_default=False, default=False)),
                ("register", models.SmallIntegerField()),
                ("rank", models.SmallIntegerField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="registers",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "inside", "left_out", "register"),
                        name="flagstaff_rollouts_seen_register",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FailedUnit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("guard", models.SmallIntegerField()),
                ("unit", models.BigIntegerField()),
                ("inside", models.BooleanField()),
                ("is_new", models.BooleanField(null=True)),
                ("is_counted", models.BooleanField(db_default=True, default=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="failed_units",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gt", 1), ("at__year__lt", 9000)),
                        name="flagstaff_rollouts_failedunit_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                    models.UniqueConstraint(
                        fields=("run", "guard", "unit"), name="flagstaff_rollouts_failed_unit"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FailedNetwork",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("guard", models.SmallIntegerField()),
                ("network", models.IntegerField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="failed_networks",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "guard", "network"), name="flagstaff_rollouts_failed_network"
                    )
                ],
            },
        ),
        WatchPlans(),
    ]
