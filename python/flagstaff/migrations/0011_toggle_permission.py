from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0010_experiments")]

    operations = [
        migrations.AlterModelOptions(
            name="featureflag",
            options={
                "default_permissions": ("add", "change", "delete", "view", "toggle"),
                "ordering": ("key",),
                "verbose_name": "feature flag",
                "verbose_name_plural": "feature flags",
            },
        ),
    ]
