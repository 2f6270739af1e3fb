"""Models of flags and values of other projects, outside all installed apps."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, models
from django.test.utils import isolate_apps

from flagstaff._tables.catalog import watched_tables
from flagstaff._tables.database import fill, sql
from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore
from flagstaff.conf import Conf
from tests.support.sql import rows

Fields = dict[str, Any]


def flag_model_of(name: str = "Switch", **fields: Any) -> Any:
    """A flag model with these fields beside the inherited ones."""
    users = models.ManyToManyField(User, related_name="+")
    return model_of(name, {"allowed_users": users, **fields}, AbstractFeatureFlag)


def value_model_of(name: str = "Setting", **fields: Any) -> Any:
    """A value model with these fields beside the inherited ones."""
    return model_of(name, fields, AbstractKeyValueStore)


def watch(model: Any, patch: pytest.MonkeyPatch) -> None:
    """Creates the table of a flag model with its triggers, and makes it that of the project."""
    with connection.schema_editor() as editor:
        editor.create_model(model)
    for table in watched_tables(connection, model, None):
        for file in ("token_trigger_v1", "history_triggers_v1"):
            rows(fill(sql(file), {"schema": "public", **table.placeholders()}))
    patch.setattr(Conf, "flag_model", model)


def model_of(name: str, fields: Fields, base: type[models.Model] = models.Model) -> Any:
    """A model of an app "common" that is not installed."""
    with isolate_apps() as isolated:
        apps: Any = isolated
        for known in (User, Group):
            apps.register_model("auth", known)
        inherited = getattr(base, "Meta", object)
        meta = type("Meta", (inherited,), {"app_label": "common"})
        return type(name, (base,), {"__module__": __name__, "Meta": meta, **fields})
