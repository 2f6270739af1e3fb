"""The URLs of waffle, to be included."""

from __future__ import annotations

from django.urls import path

from flagstaff.compat.without_waffle.views import waffle_json, wafflejs

__all__ = ["urlpatterns"]

urlpatterns = [
    path("wafflejs", wafflejs, name="wafflejs"),
    path("waffle_status", waffle_json, name="waffle_status"),
]
