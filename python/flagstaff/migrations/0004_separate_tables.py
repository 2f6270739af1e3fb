from __future__ import annotations

from django.db import migrations, models

from flagstaff.operations import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("flagstaff", "0003_functions")]

    operations = [
        InstallFunctions(),
        migrations.AddField(
            model_name="change",
            name="object_table",
            field=models.TextField(null=True, verbose_name="table"),
        ),
    ]
