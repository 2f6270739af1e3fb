from __future__ import annotations

from django.db import migrations

from flagstaff.operations import IndexHistory


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0012_value_rules")]

    operations = [
        migrations.CreateModel(
            name="RecentChange",
            fields=[],
            options={
                "verbose_name": "recent change",
                "verbose_name_plural": "recent changes",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("flagstaff.change",),
        ),
        IndexHistory(),
    ]
