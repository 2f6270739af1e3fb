"""The admin of flagstaff's own models. A project with its own models registers its own admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model

from flagstaff.admin.flags import FeatureFlagAdmin
from flagstaff.admin.values import KeyValueStoreAdmin
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.models import FeatureFlag, KeyValueStore

__all__ = ["FeatureFlagAdmin", "KeyValueStoreAdmin"]


def _register(own: type[Model], setting: str, model_admin: type[admin.ModelAdmin[Any]]) -> None:
    try:
        configured = getattr(conf, setting)
    except ConfigurationError:
        # A system check reports it, more clearly than an import error.
        configured = own
    if configured is own:
        admin.site.register(own, model_admin)


_register(FeatureFlag, "flag_model", FeatureFlagAdmin)
_register(KeyValueStore, "value_model", KeyValueStoreAdmin)
