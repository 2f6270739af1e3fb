from __future__ import annotations

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("flagstaff", "0001_flagstaff")]

    operations = [
        migrations.CreateModel(
            name="Position",
            fields=[
                ("receiver", models.TextField(primary_key=True, serialize=False)),
                ("last_entry_id", models.BigIntegerField()),
                ("open_transactions", models.JSONField()),
                ("excluded_entry_ids", models.JSONField()),
                (
                    "read_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("consecutive_failures", models.IntegerField(db_default=0)),
                ("paused_until", models.DateTimeField(null=True)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("receiver", models.TextField()),
                ("relation", models.TextField()),
                ("object_pk", models.TextField()),
                ("key", models.TextField()),
                ("entry_ids", models.JSONField()),
                (
                    "queued_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("attempts", models.IntegerField(db_default=0)),
                (
                    "due_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("claim_expires_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(null=True)),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        fields=["receiver", "relation", "object_pk", "id"],
                        name="flagstaff_delivery_object",
                    ),
                    models.Index(
                        fields=["receiver", "relation", "key", "id"], name="flagstaff_delivery_key"
                    ),
                    models.Index(
                        fields=["receiver", "attempts", "id"], name="flagstaff_delivery_next"
                    ),
                ],
            },
        ),
    ]
