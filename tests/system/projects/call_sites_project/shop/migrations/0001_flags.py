"""Fills waffle's tables, as many projects do."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def create_rows(apps: Any, _editor: Any) -> None:
    apps.get_model("waffle", "Flag").objects.create(name="from_migration", everyone=True)
    apps.get_model("waffle", "Switch").objects.create(name="switch_of_migration", active=True)


class Migration(migrations.Migration):
    dependencies = [("waffle", "0004_update_everyone_nullbooleanfield")]
    operations = [migrations.RunPython(create_rows, migrations.RunPython.noop)]
