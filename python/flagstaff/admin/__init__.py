"""The admin of flagstaff's own models. A project with its own models registers its own admin.

Every process imports the `admin` modules of all apps, but few serve the admin. So the modules are
imported by the first request to the admin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Model
from django.utils.module_loading import import_string

from flagstaff import lazy_names
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.models import FeatureFlag, KeyValueStore, Segment, WaitingAction

if TYPE_CHECKING:
    from django.urls import URLPattern

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


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Model]
else:
    _ModelAdmin = admin.ModelAdmin

# What Django reads while it builds the URLs of its site. The rest needs the class.
_KNOWN = frozenset({"urls", "__dict__"})


def register(model: type[Model], path: str) -> None:
    """Registers the admin with the dotted path `path` for a model. Does not import it."""
    # Django calls what it registers with the model and the site.
    lazy = cast("type[admin.ModelAdmin[Any]]", partial(_LazyAdmin, path))
    admin.site.register(model, lazy)


class _LazyAdmin(_ModelAdmin):
    """Becomes the admin at a path when an attribute is read or set."""

    def __init__(self, path: str, model: type[Model], site: AdminSite) -> None:
        self.__dict__.update(_lazy_path=path, _lazy_arguments=(model, site))

    def __getattribute__(self, name: str) -> Any:
        if name in _KNOWN:
            return super().__getattribute__(name)
        if name == "__class__":
            # `isinstance` compares it with the type, which must not change meanwhile.
            return import_string(self.__dict__["_lazy_path"])
        # From here on, it has another class.
        _become_loaded(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        _become_loaded(self)
        setattr(self, name, value)

    @property
    def urls(self) -> Any:
        """The URLs, which are made when one below the model's own is resolved or reversed."""
        return _LazyUrls(self)


def _become_loaded(lazy: _LazyAdmin) -> None:
    attributes = lazy.__dict__
    loaded = import_string(attributes["_lazy_path"])(*attributes["_lazy_arguments"])
    attributes.update(loaded.__dict__)
    # Comes last: another thread must not see the class without its attributes.
    object.__setattr__(lazy, "__class__", type(loaded))


class _LazyUrls(Sequence["URLPattern"]):
    """The URL patterns of an admin, which are made when Django looks for one of them."""

    def __init__(self, model_admin: _LazyAdmin) -> None:
        self._admin = model_admin

    @cached_property
    def _patterns(self) -> list[URLPattern]:
        return self._admin.get_urls()

    def __len__(self) -> int:
        return len(self._patterns)

    def __getitem__(self, index: Any) -> Any:
        return self._patterns[index]


if _is_used(lambda: conf.flag_model is FeatureFlag):
    register(FeatureFlag, "flagstaff.admin.flag.admin.FeatureFlagAdmin")
if _is_used(lambda: conf.value_model is KeyValueStore):
    register(KeyValueStore, "flagstaff.admin.value.KeyValueStoreAdmin")

register(Segment, "flagstaff.admin.segment.SegmentAdmin")
register(WaitingAction, "flagstaff.admin.waiting.WaitingActionAdmin")
