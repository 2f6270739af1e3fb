from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import flagstaff.base_models
from flagstaff.operations import WatchAppTable


class Migration(migrations.Migration):
    initial = True

    dependencies = [("flagstaff", "0001_flagstaff")]

    operations = [
        migrations.CreateModel(
            name="Experiment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255, unique=True)),
                ("description", models.TextField(db_default="", default="")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "draft"),
                            ("running", "running"),
                            ("stopped", "stopped"),
                            ("shipped", "shipped"),
                        ],
                        default="draft",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("variants", models.JSONField()),
                ("traffic_percent", models.PositiveSmallIntegerField(db_default=100, default=100)),
                ("bucket_by", models.CharField(db_default="user", default="user", max_length=100)),
                ("rules", models.JSONField(default=list)),
                ("overrides", models.JSONField(default=dict)),
                ("primary_metric", models.CharField(db_default="", default="", max_length=255)),
                ("other_metrics", models.JSONField(default=list)),
                ("guardrails", models.JSONField(default=dict)),
                ("added_metrics", models.JSONField(default=dict)),
                ("planned_units", models.PositiveBigIntegerField(default=10000)),
                ("min_days", models.PositiveSmallIntegerField(default=7)),
                ("min_units", models.PositiveIntegerField(default=100)),
                ("smallest_effect", models.FloatField(null=True)),
                ("run", models.PositiveIntegerField(db_default=0, default=0)),
                ("winner", models.CharField(db_default="", default="", max_length=255)),
                ("frozen_report", models.JSONField(null=True)),
                ("exposures_deleted_at", models.DateTimeField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("started_at", models.DateTimeField(null=True)),
                ("runs_since", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "experiment",
                "verbose_name_plural": "experiments",
                "ordering": ("-id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("created_at__year__gte", 2),
                            ("created_at__year__lt", 9000),
                            ("ended_at__year__gte", 2),
                            ("ended_at__year__lt", 9000),
                            ("exposures_deleted_at__year__gte", 2),
                            ("exposures_deleted_at__year__lt", 9000),
                            ("runs_since__year__gte", 2),
                            ("runs_since__year__lt", 9000),
                            ("started_at__year__gte", 2),
                            ("started_at__year__lt", 9000),
                        ),
                        name="flagstaff_experiments_experiment_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            flagstaff.base_models.ReadableJson("rules", size=262144),
                            flagstaff.base_models.ReadableJson("overrides", size=262144),
                        ),
                        name="flagstaff_experiments_experiment_readable_json",
                        violation_error_message="the JSON is too long, nested deeper than 500 levels, or has a number of more than 4,300 digits; rules have at most 256 KiB, and a value 1 MiB",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExperimentEvent",
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
                            ("edited", "edited"),
                            ("started", "started"),
                            ("grown", "grown"),
                            ("restarted", "restarted"),
                            ("stopped", "stopped"),
                            ("shipped", "shipped"),
                            ("undone", "undone"),
                            ("moved", "other users"),
                            ("deleted", "deleted"),
                        ],
                        max_length=16,
                    ),
                ),
                ("message", models.TextField()),
                ("before", models.JSONField(null=True)),
                ("reason", models.TextField(default="")),
                ("actor", models.TextField(default="")),
            ],
            options={
                "verbose_name": "experiment event",
                "verbose_name_plural": "experiment events",
                "ordering": ("id",),
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gte", 2), ("at__year__lt", 9000)),
                        name="flagstaff_experiments_experimentevent_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Exposure",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "experiment_id",
                        "run",
                        "unit",
                        "variant",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "experiment",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exposures",
                        to="flagstaff_experiments.experiment",
                    ),
                ),
                ("run", models.PositiveIntegerField()),
                ("unit", models.TextField()),
                ("variant", models.TextField()),
                ("user_pk", models.TextField(null=True)),
                ("at", models.DateTimeField()),
                ("returned", models.BooleanField(db_default=False, default=False)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gte", 2), ("at__year__lt", 9000)),
                        name="flagstaff_experiments_exposure_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LostExposures",
            fields=[
                (
                    "experiment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="lost_exposures",
                        serialize=False,
                        to="flagstaff_experiments.experiment",
                    ),
                ),
                ("count", models.BigIntegerField()),
                ("left_out", models.BigIntegerField(db_default=0, default=0)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="StoredVerdict",
            fields=[
                (
                    "experiment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="stored_verdict",
                        serialize=False,
                        to="flagstaff_experiments.experiment",
                    ),
                ),
                ("run", models.PositiveIntegerField()),
                ("outcomes", models.JSONField(default=dict)),
                ("problem", models.TextField(default="")),
                ("at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gte", 2), ("at__year__lt", 9000)),
                        name="flagstaff_experiments_storedverdict_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.CheckConstraint(
                condition=models.Q(("traffic_percent__gte", 0), ("traffic_percent__lte", 100)),
                name="flagstaff_experiments_traffic_percent",
            ),
        ),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "shipped"), _negated=True),
                    models.Q(("winner", ""), _negated=True),
                    _connector="OR",
                ),
                name="flagstaff_experiments_winner",
            ),
        ),
        migrations.AddField(
            model_name="experimentevent",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="flagstaff_experiments.experiment",
            ),
        ),
        migrations.AddIndex(
            model_name="exposure",
            index=models.Index(
                models.F("user_pk"),
                condition=models.Q(("user_pk__isnull", False)),
                name="flagstaff_exposure_user",
            ),
        ),
        WatchAppTable("flagstaff_experiments.Experiment", "e"),
    ]
