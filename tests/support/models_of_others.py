"""Models of flags and values of other projects, outside all installed apps."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.db import models
from django.test.utils import isolate_apps

Fields = dict[str, Any]


def flag_fields(**others: Any) -> Fields:
    """Fields of a flag model; None omits a field."""
    fields = {
        "key": models.CharField(max_length=100, unique=True),
        "enabled": models.BooleanField(default=False),
        "rollout_percent": models.PositiveIntegerField(default=0),
        "allowed_users": models.ManyToManyField(User, related_name="+"),
        **others,
    }
    return {name: field for name, field in fields.items() if field is not None}


def value_fields(**others: Any) -> Fields:
    """Fields of a value model; None omits a field."""
    fields = {
        "key": models.CharField(max_length=255, unique=True),
        "value": models.JSONField(),
        **others,
    }
    return {name: field for name, field in fields.items() if field is not None}


def model_of(
    name: str,
    fields: Fields,
    base: type[models.Model] = models.Model,
    *,
    through: Fields | None = None,
) -> Any:
    """A model of an app "common" that is not installed, with the through model "Allowed"."""
    with isolate_apps() as isolated:
        apps: Any = isolated
        for known in (User, Group):
            apps.register_model("auth", known)
        if through:
            _make("Allowed", through, models.Model)
        return _make(name, fields, base)


def _make(name: str, fields: Fields, base: type[models.Model]) -> Any:
    meta = type("Meta", (), {"app_label": "common"})
    return type(name, (base,), {"__module__": __name__, "Meta": meta, **fields})
