"""The admin of flagstaff's own models. A project with its own models registers its own admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model

from flagstaff._tables.model_fields import rules_field
from flagstaff.admin.flags import FeatureFlagAdmin
from flagstaff.admin.recent_changes.page import RecentChangesAdmin
from flagstaff.admin.segments import SegmentAdmin
from flagstaff.admin.unknown_keys import UnknownKeysAdmin
from flagstaff.admin.values import KeyValueStoreAdmin
from flagstaff.admin.workers import WorkersAdmin
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.models import (
    ConnectedWorker,
    FeatureFlag,
    KeyValueStore,
    RecentChange,
    Segment,
    UnknownKey,
)

__all__ = ["FeatureFlagAdmin", "KeyValueStoreAdmin", "RecentChangesAdmin", "SegmentAdmin"]


def _register(own: type[Model], setting: str, model_admin: type[admin.ModelAdmin[Any]]) -> None:
    try:
        configured = getattr(conf, setting)
    except ConfigurationError:
        # A system check reports it, more clearly than an import error.
        configured = own
    if configured is own:
        admin.site.register(own, model_admin)


def _have_rules() -> bool:
    try:
        return rules_field(conf.flag_model) is not None
    except ConfigurationError:
        return True


_register(FeatureFlag, "flag_model", FeatureFlagAdmin)
_register(KeyValueStore, "value_model", KeyValueStoreAdmin)
# Without a column for rules, no rule can use a segment.
if _have_rules():
    admin.site.register(Segment, SegmentAdmin)

# These pages do not depend on the models of the project.
admin.site.register(UnknownKey, UnknownKeysAdmin)
admin.site.register(ConnectedWorker, WorkersAdmin)
admin.site.register(RecentChange, RecentChangesAdmin)
