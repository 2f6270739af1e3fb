"""The admin of flagstaff's own models. A project with its own models registers its own admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.utils.module_loading import import_string

from flagstaff._tables.model_fields import rules_field
from flagstaff.admin.lazy import register
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

if TYPE_CHECKING:
    from flagstaff.admin.flags import FeatureFlagAdmin
    from flagstaff.admin.recent_changes.page import RecentChangesAdmin
    from flagstaff.admin.segments import SegmentAdmin
    from flagstaff.admin.values import KeyValueStoreAdmin

__all__ = ["FeatureFlagAdmin", "KeyValueStoreAdmin", "RecentChangesAdmin", "SegmentAdmin"]


# Imported by the first request to the admin, or by the project's own admin.
_CLASSES = {
    "FeatureFlagAdmin": "flagstaff.admin.flags.FeatureFlagAdmin",
    "KeyValueStoreAdmin": "flagstaff.admin.values.KeyValueStoreAdmin",
    "RecentChangesAdmin": "flagstaff.admin.recent_changes.page.RecentChangesAdmin",
    "SegmentAdmin": "flagstaff.admin.segments.SegmentAdmin",
}


def __getattr__(name: str) -> Any:
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_string(_CLASSES[name])


def _is_configured(own: type[Model], setting: str) -> bool:
    try:
        return bool(getattr(conf, setting) is own)
    except ConfigurationError:
        # A system check reports it, more clearly than an import error.
        return True


def _have_rules() -> bool:
    try:
        return rules_field(conf.flag_model) is not None
    except ConfigurationError:
        return True


if _is_configured(FeatureFlag, "flag_model"):
    register(FeatureFlag, _CLASSES["FeatureFlagAdmin"])
if _is_configured(KeyValueStore, "value_model"):
    register(KeyValueStore, _CLASSES["KeyValueStoreAdmin"])
# Without a column for rules, no rule can use a segment.
if _have_rules():
    register(Segment, _CLASSES["SegmentAdmin"])

# These pages do not depend on the models of the project.
register(UnknownKey, "flagstaff.admin.unknown_keys.UnknownKeysAdmin")
register(ConnectedWorker, "flagstaff.admin.workers.WorkersAdmin")
register(RecentChange, _CLASSES["RecentChangesAdmin"])
