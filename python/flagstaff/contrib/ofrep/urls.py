"""URLs of the protocol."""

from __future__ import annotations

from django.urls import path

from flagstaff.contrib.ofrep.views import evaluate_all, evaluate_one

__all__ = ["app_name", "urlpatterns"]

app_name = "flagstaff_ofrep"
urlpatterns = [
    path("ofrep/v1/evaluate/flags", evaluate_all, name="evaluate_all"),
    # Some SDKs do not encode a slash in a key.
    path("ofrep/v1/evaluate/flags/<path:key>", evaluate_one, name="evaluate_one"),
]
