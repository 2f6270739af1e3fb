"""Creates the tables as they are after all migrations of waffle 5.0.0: as the models have them."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db import migrations
from django.db.migrations.state import ModelState


def _creation(name: str) -> migrations.CreateModel:
    state = ModelState.from_model(apps.get_model("waffle", name))
    # As in waffle, a model that the project replaces has a table, too.
    state.options.pop("swappable")
    return migrations.CreateModel(state.name, list(state.fields.items()), state.options)


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("auth", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [_creation(name) for name in ("Flag", "Sample", "Switch")]
