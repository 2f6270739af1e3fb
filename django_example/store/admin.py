from __future__ import annotations

from django.contrib import admin

from store.models import Order

admin.site.site_header = "Halyard & Co"
admin.site.site_title = "Halyard & Co"
admin.site.index_title = "Shop administration"


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "name", "gateway", "checkout", "cents", "created_at")
    list_filter = ("gateway", "checkout")
