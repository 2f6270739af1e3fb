from __future__ import annotations

import django.db.models.functions.datetime
from django.db import migrations, models

import flagstaff.validators


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0004_separate_tables")]

    operations = [
        migrations.AddField(
            model_name="featureflag",
            name="rules",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="The first rule that matches decides. If no rule matches, the rollout decides.",
                validators=[flagstaff.validators.validate_rules],
                verbose_name="rules",
            ),
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
                        blank=True, db_default="", default="", verbose_name="description"
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
            },
        ),
        migrations.AlterField(
            model_name="change",
            name="relation",
            field=models.CharField(
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
    ]
