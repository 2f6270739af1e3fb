from __future__ import annotations

from django.db import migrations

from flagstaff.operations import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0003_functions")]

    operations = [InstallFunctions()]
