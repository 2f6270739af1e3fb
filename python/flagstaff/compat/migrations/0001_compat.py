from __future__ import annotations

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("flagstaff", "0001_flagstaff")]

    operations = [
        migrations.CreateModel(
            name="Difference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField(verbose_name="day")),
                ("kind", models.CharField(max_length=8, verbose_name="kind")),
                ("name", models.CharField(max_length=255, verbose_name="name in waffle")),
                ("cause", models.CharField(max_length=32, verbose_name="cause")),
                ("waffle", models.BooleanField(verbose_name="result of waffle")),
                ("flagstaff", models.BooleanField(verbose_name="result of flagstaff")),
                ("count", models.BigIntegerField(verbose_name="evaluations")),
                ("user_pk", models.TextField(blank=True, default="", verbose_name="example user")),
                ("path", models.TextField(blank=True, default="", verbose_name="example path")),
            ],
            options={
                "verbose_name": "difference from waffle",
                "verbose_name_plural": "differences from waffle",
                "ordering": ("-day", "name", "cause"),
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("day", "kind", "name", "cause", "waffle", "flagstaff"),
                        name="flagstaff_compat_difference_of_day",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="WaffleRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=8)),
                ("name", models.CharField(max_length=255)),
                ("key", models.CharField(max_length=255)),
                ("fields", models.JSONField(default=dict)),
                ("users", models.JSONField(default=list)),
                ("problem", models.TextField(blank=True, db_default="", default="")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "name"), name="flagstaff_compat_row_name"
                    )
                ],
            },
        ),
    ]
