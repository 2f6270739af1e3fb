"""The admin of flagstaff's own models. A project with its own models registers its own admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flagstaff import lazy_names
from flagstaff.admin.lazy import register
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.models import FeatureFlag, KeyValueStore, Segment, WaitingAction

if TYPE_CHECKING:
    from flagstaff.admin.flag.admin import FeatureFlagAdmin
    from flagstaff.admin.links import with_pages
    from flagstaff.admin.parts import Section
    from flagstaff.admin.segment import SegmentAdmin
    from flagstaff.admin.value import KeyValueStoreAdmin

__all__ = [
    "FeatureFlagAdmin",
    "KeyValueStoreAdmin",
    "Section",
    "SegmentAdmin",
    "with_pages",
]

_MODULES = {
    "FeatureFlagAdmin": "flagstaff.admin.flag.admin",
    "KeyValueStoreAdmin": "flagstaff.admin.value",
    "Section": "flagstaff.admin.parts",
    "SegmentAdmin": "flagstaff.admin.segment",
    "with_pages": "flagstaff.admin.links",
}

__getattr__ = lazy_names(__name__, _MODULES)


def _is_used(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except ConfigurationError:
        # A system check reports it, more clearly than an import error.
        return True


if _is_used(lambda: conf.flag_model is FeatureFlag):
    register(FeatureFlag, "flagstaff.admin.flag.admin.FeatureFlagAdmin")
if _is_used(lambda: conf.value_model is KeyValueStore):
    register(KeyValueStore, "flagstaff.admin.value.KeyValueStoreAdmin")

register(Segment, "flagstaff.admin.segment.SegmentAdmin")
register(WaitingAction, "flagstaff.admin.waiting.WaitingActionAdmin")
