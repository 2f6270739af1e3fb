from __future__ import annotations

from django.db import migrations

from flagstaff.operations import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0009_ownership")]

    # Allows change tokens of experiments, which WatchExperiments writes.
    operations = [InstallFunctions()]
