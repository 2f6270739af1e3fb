from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0013_recent_changes")]

    # Pages of the admin: neither a table nor a permission.
    operations = [
        migrations.CreateModel(
            name="ConnectedWorker",
            fields=[],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("flagstaff.change",),
        ),
        migrations.CreateModel(
            name="UnknownKey",
            fields=[],
            options={
                "verbose_name": "unknown key",
                "verbose_name_plural": "unknown keys",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("flagstaff.change",),
        ),
    ]
