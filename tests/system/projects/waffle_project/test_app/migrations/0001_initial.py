"""Creates the models as they are now, so that no text of waffle is repeated here."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db import migrations
from django.db.migrations.state import ModelState


def _creation(name: str) -> migrations.CreateModel:
    state = ModelState.from_model(apps.get_model("test_app", name))
    return migrations.CreateModel(state.name, list(state.fields.items()), state.options)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        _creation(name)
        for name in ("Company", "CompanyUser", "CompanyAwareFlag", "CustomSample", "CustomSwitch")
    ]
