"""Settings in the admin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.contrib import admin
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from flagstaff.models import KeyValueStore

__all__ = ["KeyValueStoreAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[KeyValueStore]
else:
    _ModelAdmin = admin.ModelAdmin

_MOST_SHOWN = 80


class KeyValueStoreAdmin(_ModelAdmin):
    """Settings: key, value, and what it is for."""

    list_display = ("key", "shown_value", "description", "changed_at")
    search_fields = ("key", "description")
    list_filter = ("secret",)
    ordering = ("key",)
    readonly_fields = ("changed_at",)
    fields = ("key", "value", "description", "secret", "changed_at")

    @admin.display(description=_("value"))
    def shown_value(self, entry: KeyValueStore) -> str:
        """The value as JSON, cut short; a secret one is not shown."""
        if entry.secret:
            return "••••••"
        return Truncator(json.dumps(entry.value, ensure_ascii=False)).chars(_MOST_SHOWN)
