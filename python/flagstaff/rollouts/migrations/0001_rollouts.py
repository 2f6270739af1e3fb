from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import flagstaff.rollouts.models
from flagstaff.operations import WatchAppTable


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
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("last_run_at__year__gte", 2), ("last_run_at__year__lt", 9000)
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
                ("flag_pk", models.TextField()),
                ("key", models.CharField(max_length=255)),
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
                ("steps", models.JSONField()),
                ("guards", models.JSONField(default=list)),
                ("required_users", models.PositiveIntegerField(default=1000)),
                ("step", models.PositiveSmallIntegerField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("seconds_left", models.FloatField(null=True)),
                ("flag_version", models.BigIntegerField(null=True)),
                ("seen_flag", models.CharField(default="", max_length=64)),
                ("run_id", models.BigIntegerField(null=True)),
                ("latency_limits", models.JSONField(default=dict)),
                (
                    "salt",
                    models.BinaryField(default=flagstaff.rollouts.models.new_salt, max_length=16),
                ),
                ("guarded_until", models.DateTimeField(null=True)),
                ("trip_run_id", models.BigIntegerField(null=True)),
                ("trip_reason", models.TextField(default="")),
                ("trip_figures", models.JSONField(null=True)),
                ("reason", models.TextField(default="")),
                ("actor", models.TextField(default="")),
                ("compare", models.CharField(db_default="", default="", max_length=8)),
                ("ignore_releases", models.BooleanField(default=False)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "rollout plan",
                "verbose_name_plural": "rollout plans",
                "ordering": ("-id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("due_at__year__gte", 2),
                            ("due_at__year__lt", 9000),
                            ("ended_at__year__gte", 2),
                            ("ended_at__year__lt", 9000),
                            ("guarded_until__year__gte", 2),
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
            name="StepRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("step", models.PositiveSmallIntegerField(null=True)),
                ("percent", models.PositiveSmallIntegerField()),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                ("number", models.PositiveIntegerField(default=1)),
                ("tenth", models.SmallIntegerField(db_default=0, default=0)),
                ("releases", models.JSONField(null=True)),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to="flagstaff_rollouts.plan",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
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
                ("kind", models.CharField(max_length=1)),
                ("number", models.SmallIntegerField(default=0)),
                ("tenth", models.SmallIntegerField(db_default=0, default=0)),
                ("count", models.BigIntegerField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
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
                ("left_out", models.BooleanField(default=False)),
                ("register", models.SmallIntegerField()),
                ("rank", models.SmallIntegerField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
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
                ("tenth", models.SmallIntegerField(db_default=0, default=0)),
                ("is_new", models.BooleanField(null=True)),
                ("is_counted", models.BooleanField(default=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
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
                        related_name="+",
                        to="flagstaff_rollouts.steprun",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
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
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "created"),
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
                            ("deleted", "deleted"),
                        ],
                        max_length=16,
                    ),
                ),
                ("message", models.TextField()),
                ("actor", models.TextField(default="")),
                ("figures", models.JSONField(default=dict)),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="flagstaff_rollouts.plan",
                    ),
                ),
            ],
            options={
                "verbose_name": "plan event",
                "verbose_name_plural": "plan events",
                "ordering": ("id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gte", 2), ("at__year__lt", 9000)),
                        name="flagstaff_rollouts_planevent_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="steprun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ended_at__year__gte", 2),
                    ("ended_at__year__lt", 9000),
                    ("started_at__year__gte", 2),
                    ("started_at__year__lt", 9000),
                ),
                name="flagstaff_rollouts_steprun_finite_times",
                violation_error_message="times and days must be in the years 2 to 8999",
            ),
        ),
        migrations.AddConstraint(
            model_name="signalcount",
            constraint=models.UniqueConstraint(
                fields=("run", "inside", "kind", "number", "tenth"),
                name="flagstaff_rollouts_signal_count",
            ),
        ),
        migrations.AddConstraint(
            model_name="seenregister",
            constraint=models.UniqueConstraint(
                fields=("run", "inside", "left_out", "register"),
                name="flagstaff_rollouts_seen_register",
            ),
        ),
        migrations.AddConstraint(
            model_name="failedunit",
            constraint=models.UniqueConstraint(
                fields=("run", "guard", "unit"), name="flagstaff_rollouts_failed_unit"
            ),
        ),
        migrations.AddConstraint(
            model_name="failednetwork",
            constraint=models.UniqueConstraint(
                fields=("run", "guard", "network"), name="flagstaff_rollouts_failed_network"
            ),
        ),
        WatchAppTable("flagstaff_rollouts.Plan", "p"),
    ]
