"""Only a name, for migrations that depend on it: 0001 has its changes."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("waffle", "0001_initial")]
