from __future__ import annotations

import django.core.serializers.json
import django.core.validators
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import flagstaff.base_models
import flagstaff.validators
from flagstaff._text import ExactDecoder
from flagstaff.operations import InstallFunctions, InstallTables, InstallTriggers


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
                        choices=[
                            ("f", "flag"),
                            ("m", "allowed users"),
                            ("k", "value"),
                            ("s", "segment"),
                        ],
                        max_length=1,
                        verbose_name="relation",
                    ),
                ),
                ("object_table", models.TextField(null=True, verbose_name="table")),
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
                ("old", models.JSONField(decoder=ExactDecoder, null=True, verbose_name="old")),
                ("new", models.JSONField(decoder=ExactDecoder, null=True, verbose_name="new")),
                ("actor", models.TextField(null=True, verbose_name="actor")),
                ("source", models.TextField(null=True, verbose_name="source")),
                ("reason", models.TextField(null=True, verbose_name="reason")),
                ("undoes", models.JSONField(null=True, verbose_name="undoes")),
                ("hidden", models.JSONField(null=True, verbose_name="hidden columns")),
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
            name="Segment",
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
                        help_text='The name that rules use, such as "enterprise".',
                        max_length=255,
                        unique=True,
                        validators=[flagstaff.validators.validate_flag_key],
                        verbose_name="key",
                    ),
                ),
                (
                    "conditions",
                    models.JSONField(
                        help_text="A user is in the segment if all conditions are true.",
                        validators=[flagstaff.validators.validate_conditions],
                        verbose_name="conditions",
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        validators=[flagstaff.validators.validate_text],
                        verbose_name="description",
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
            ],
            options={
                "verbose_name": "segment",
                "verbose_name_plural": "segments",
                "ordering": ("key",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            flagstaff.base_models.ReadableJson("conditions", size=262144)
                        ),
                        name="flagstaff_segment_readable_json",
                        violation_error_message="the JSON is too long, nested deeper than 500 levels, or has a number of more than 4,300 digits; rules have at most 256 KiB, and a value 1 MiB",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("changed_at__year__gte", 2),
                            ("changed_at__year__lt", 9000),
                            ("created_at__year__gte", 2),
                            ("created_at__year__lt", 9000),
                        ),
                        name="flagstaff_segment_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StaleCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("count", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("at__year__gte", 2), ("at__year__lt", 9000)),
                        name="flagstaff_stalecount_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JobsRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("last_run_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("last_run_at__year__gte", 2), ("last_run_at__year__lt", 9000)
                        ),
                        name="flagstaff_jobsrun_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="WaitingAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=50)),
                ("action", models.CharField(max_length=50)),
                ("row_kind", models.CharField(max_length=50)),
                ("keys", models.JSONField()),
                (
                    "arguments",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder),
                ),
                ("expected", models.JSONField()),
                ("consequence", models.PositiveSmallIntegerField()),
                ("users", models.TextField()),
                ("rough_users", models.TextField()),
                ("asked_by", models.TextField()),
                (
                    "asked_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("reason", models.TextField()),
                ("run_at", models.DateTimeField(null=True)),
                ("needs_approval", models.BooleanField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("approval", "waits for approval"),
                            ("waiting", "waits for its time"),
                            ("done", "done"),
                            ("failed", "did not run"),
                            ("expired", "expired"),
                            ("refused", "refused"),
                            ("cancelled", "cancelled"),
                        ],
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("approved_by", models.TextField(default="")),
                ("approved_at", models.DateTimeField(null=True)),
                ("approval", models.TextField(default="")),
                ("ended_by", models.TextField(default="")),
                ("ended_at", models.DateTimeField(null=True)),
                ("result", models.TextField(default="")),
                ("entries", models.JSONField(default=list)),
                ("stands_on", models.JSONField(default=list)),
                ("rests_on", models.JSONField(default=list)),
                ("takes_away", models.BooleanField(default=False)),
                ("begun_by", models.BigIntegerField(null=True)),
            ],
            options={
                "verbose_name": "waiting action",
                "verbose_name_plural": "waiting actions",
                "ordering": ("-id",),
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ("approval", "waiting"))),
                        fields=["run_at"],
                        name="flagstaff_waiting_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            flagstaff.base_models.ReadableJson("keys", size=262144),
                            flagstaff.base_models.ReadableJson("expected", size=262144),
                            flagstaff.base_models.ReadableJson("entries", size=262144),
                            flagstaff.base_models.ReadableJson("stands_on", size=262144),
                            flagstaff.base_models.ReadableJson("rests_on", size=262144),
                            flagstaff.base_models.ReadableJson("arguments", size=1048576),
                        ),
                        name="flagstaff_waitingaction_readable_json",
                        violation_error_message="the JSON is too long, nested deeper than 500 levels, or has a number of more than 4,300 digits; rules have at most 256 KiB, and a value 1 MiB",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_at__year__gte", 2),
                            ("approved_at__year__lt", 9000),
                            ("asked_at__year__gte", 2),
                            ("asked_at__year__lt", 9000),
                            ("ended_at__year__gte", 2),
                            ("ended_at__year__lt", 9000),
                            ("run_at__year__gte", 2),
                            ("run_at__year__lt", 9000),
                        ),
                        name="flagstaff_waitingaction_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                ],
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
                (
                    "key",
                    models.CharField(
                        max_length=255,
                        unique=True,
                        validators=[flagstaff.validators.validate_flag_key],
                        verbose_name="key",
                    ),
                ),
                (
                    "value",
                    models.JSONField(
                        blank=True,
                        validators=[flagstaff.validators.validate_value],
                        verbose_name="value",
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        validators=[flagstaff.validators.validate_text],
                        verbose_name="description",
                    ),
                ),
                (
                    "secret",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="The history stores only that a secret value was set, not the value.",
                        verbose_name="secret",
                    ),
                ),
                (
                    "type",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "any type"),
                            ("string", "string"),
                            ("number", "number"),
                            ("integer", "integer"),
                            ("boolean", "boolean"),
                            ("object", "object"),
                            ("array", "array"),
                        ],
                        db_default="",
                        default="",
                        error_messages={
                            "invalid_choice": "use one of string, number, integer, boolean, object, array"
                        },
                        help_text="A value of another type is refused.",
                        max_length=10,
                        verbose_name="type",
                    ),
                ),
                (
                    "choices",
                    models.JSONField(
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text='A JSON list, such as ["stripe", "paypal"]. Any other value is refused.',
                        validators=[flagstaff.validators.validate_choices],
                        verbose_name="choices",
                    ),
                ),
                (
                    "rules",
                    models.JSONField(
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="The first rule that matches decides. If no rule matches, users get the value itself.",
                        validators=[flagstaff.validators.validate_value_rules],
                        verbose_name="rules",
                    ),
                ),
                (
                    "bucket_by",
                    models.CharField(
                        db_default="user",
                        default="user",
                        help_text='What the percentages of rules count: "user", "visitor" (a browser, even before log-in), or the name of an attribute, such as "organization".',
                        max_length=100,
                        validators=[flagstaff.validators.validate_bucket_by],
                        verbose_name="bucketing unit",
                    ),
                ),
                (
                    "client_side",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Browsers may read this value, so it is public. A secret value cannot be client side.",
                        verbose_name="client side",
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
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            flagstaff.base_models.ReadableJson("choices", size=262144),
                            flagstaff.base_models.ReadableJson("rules", size=262144),
                            flagstaff.base_models.ReadableJson("value", size=1048576),
                        ),
                        name="flagstaff_keyvaluestore_readable_json",
                        violation_error_message="the JSON is too long, nested deeper than 500 levels, or has a number of more than 4,300 digits; rules have at most 256 KiB, and a value 1 MiB",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("changed_at__year__gte", 2), ("changed_at__year__lt", 9000)
                        ),
                        name="flagstaff_keyvaluestore_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                ],
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
                        verbose_name="rollout",
                    ),
                ),
                (
                    "bucket_by",
                    models.CharField(
                        db_default="user",
                        default="user",
                        help_text='What the percentages count: "user", "visitor" (a browser, even before log-in), or the name of an attribute, such as "organization". A change of the unit reassigns every user at once.',
                        max_length=100,
                        validators=[flagstaff.validators.validate_bucket_by],
                        verbose_name="bucketing unit",
                    ),
                ),
                (
                    "rules",
                    models.JSONField(
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="The first rule that matches decides. If no rule matches, the rollout decides.",
                        validators=[flagstaff.validators.validate_rules],
                        verbose_name="rules",
                    ),
                ),
                (
                    "description",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        validators=[flagstaff.validators.validate_text],
                        verbose_name="description",
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
                        error_messages={"invalid_choice": "use one of release, ops, permission"},
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
                    "owner",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The person or team that decides about the flag.",
                        max_length=100,
                        validators=[flagstaff.validators.validate_text],
                        verbose_name="owner",
                    ),
                ),
                (
                    "tags",
                    models.JSONField(
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="Words to find the flag by, such as the part of the product.",
                        validators=[flagstaff.validators.validate_tags],
                        verbose_name="tags",
                    ),
                ),
                (
                    "review_on",
                    models.DateField(
                        blank=True,
                        help_text="On this day somebody should decide whether the flag is still needed.",
                        null=True,
                        verbose_name="review on",
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
                "verbose_name": "flag",
                "verbose_name_plural": "flags",
                "ordering": ("key",),
                "default_permissions": ("add", "change", "delete", "view", "toggle"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("rollout_percent__gte", 0), ("rollout_percent__lte", 100)
                        ),
                        name="flagstaff_featureflag_rollout_percent_range",
                        violation_error_message="the rollout percent must be a whole number from 0 to 100",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            flagstaff.base_models.ReadableJson("rules", size=262144),
                            flagstaff.base_models.ReadableJson("tags", size=262144),
                        ),
                        name="flagstaff_featureflag_readable_json",
                        violation_error_message="the JSON is too long, nested deeper than 500 levels, or has a number of more than 4,300 digits; rules have at most 256 KiB, and a value 1 MiB",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("changed_at__year__gte", 2),
                            ("changed_at__year__lt", 9000),
                            ("created_at__year__gte", 2),
                            ("created_at__year__lt", 9000),
                            ("review_on__year__gte", 2),
                            ("review_on__year__lt", 9000),
                        ),
                        name="flagstaff_featureflag_finite_times",
                        violation_error_message="times and days must be in the years 2 to 8999",
                    ),
                ],
            },
        ),
        InstallTables(),
        InstallFunctions(),
        InstallTriggers(
            "flagstaff.FeatureFlag", "flagstaff.KeyValueStore", segment_model="flagstaff.Segment"
        ),
    ]
