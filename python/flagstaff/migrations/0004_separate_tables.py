from __future__ import annotations

from django.db import migrations, models

from flagstaff.operations import FillObjectTables, InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0003_functions")]

    # Each operation in a transaction of its own, so that the lock of the first is short.
    atomic = False

    operations = [
        InstallFunctions(),
        migrations.AddField(
            model_name="change",
            name="object_table",
            field=models.TextField(null=True, verbose_name="table"),
        ),
        FillObjectTables(),
    ]
