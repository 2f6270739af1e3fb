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
                ("paused_until", models.DateTimeField(null=True)),
            ],
            options={"default_permissions": ()},
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
                ("kind", models.TextField()),
                ("object_pk", models.TextField()),
                ("key", models.TextField()),
                ("entry_ids", models.JSONField()),
                ("event", models.TextField(default="")),
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
            options={"default_permissions": ()},
        ),
    ]
