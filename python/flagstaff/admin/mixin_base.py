"""The base of mixins of ModelAdmin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# At run time it has no methods: ModelAdmin comes last among the bases of the whole class.
if TYPE_CHECKING:
    from django.contrib import admin

    ModelAdminMixin = admin.ModelAdmin[Any]
else:
    ModelAdminMixin = object
