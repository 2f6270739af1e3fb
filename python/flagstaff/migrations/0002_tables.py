from __future__ import annotations

from django.db import migrations

from flagstaff.operations import InstallTables, InstallTriggers


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0001_initial")]

    operations = [
        InstallTables(),
        InstallTriggers("flagstaff.FeatureFlag", "flagstaff.KeyValueStore"),
    ]
