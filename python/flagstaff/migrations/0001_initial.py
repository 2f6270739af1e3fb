from __future__ import annotations

import django.core.validators
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import flagstaff.validators


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Change",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="at")),
                ("transaction_id", models.BigIntegerField(verbose_name="transaction")),
                (
                    "relation",
                    models.CharField(
                        choices=[("f", "flag"), ("m", "allowed users"), ("k", "value")],
                        max_length=1,
                        verbose_name="relation",
                    ),
                ),
                ("object_pk", models.TextField(verbose_name="primary key")),
                ("key", models.TextField(verbose_name="key")),
                (
                    "action",
                    models.TextField(
                        choices=[
                            ("insert", "insert"),
                            ("update", "update"),
                            ("delete", "delete"),
                            ("truncate", "truncate"),
                        ],
                        verbose_name="action",
                    ),
                ),
                ("old", models.JSONField(null=True, verbose_name="old")),
                ("new", models.JSONField(null=True, verbose_name="new")),
                ("actor", models.TextField(null=True, verbose_name="actor")),
                ("source", models.TextField(null=True, verbose_name="source")),
                ("reason", models.TextField(null=True, verbose_name="reason")),
                ("session_user", models.TextField(verbose_name="session user")),
                ("role", models.TextField(verbose_name="role")),
                ("application_name", models.TextField(verbose_name="application name")),
            ],
            options={
                "verbose_name": "change",
                "verbose_name_plural": "changes",
                "db_table": "flagstaff_change",
                "ordering": ("-id",),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="KeyValueStore",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255, unique=True, verbose_name="key")),
                ("value", models.JSONField(blank=True, verbose_name="value")),
                (
                    "description",
                    models.TextField(
                        blank=True, db_default="", default="", verbose_name="description"
                    ),
                ),
                (
                    "secret",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="The history stores a digest of a secret value instead of the value.",
                        verbose_name="secret",
                    ),
                ),
                (
                    "changed_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="changed at",
                    ),
                ),
            ],
            options={
                "verbose_name": "value",
                "verbose_name_plural": "values",
                "ordering": ("key",),
            },
        ),
        migrations.CreateModel(
            name="FeatureFlag",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text='The name that code uses, such as "new_checkout".',
                        max_length=255,
                        unique=True,
                        validators=[flagstaff.validators.validate_flag_key],
                        verbose_name="key",
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="A disabled flag is off for every user.",
                        verbose_name="enabled",
                    ),
                ),
                (
                    "rollout_percent",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="The percentage of users who have the flag: 0 to 100.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                        verbose_name="rollout percent",
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True, db_default="", default="", verbose_name="description"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("release", "release"),
                            ("ops", "operations"),
                            ("permission", "permission"),
                        ],
                        db_default="release",
                        default="release",
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                (
                    "client_side",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="The flag may be sent to browsers, so its key is public.",
                        verbose_name="client side",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        auto_now_add=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="created at",
                    ),
                ),
                (
                    "changed_at",
                    models.DateTimeField(
                        auto_now=True,
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="changed at",
                    ),
                ),
                (
                    "allowed_users",
                    models.ManyToManyField(
                        blank=True,
                        help_text="These users have the flag at any percentage while it is enabled.",
                        related_name="flagstaff_flags",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="allowed users",
                    ),
                ),
            ],
            options={
                "verbose_name": "feature flag",
                "verbose_name_plural": "feature flags",
                "ordering": ("key",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("rollout_percent__gte", 0), ("rollout_percent__lte", 100)
                        ),
                        name="flagstaff_rollout_percent_range",
                        violation_error_message="the rollout percent must be a whole number from 0 to 100",
                    )
                ],
            },
        ),
    ]
