from __future__ import annotations

from django.db import migrations

from flagstaff.operations import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0007_bucket_by")]

    # Allows change tokens of groups, which WatchGroups writes.
    operations = [InstallFunctions()]
