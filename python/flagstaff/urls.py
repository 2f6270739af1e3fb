"""URL of `client_flags`. Include it: `path("flags/", include("flagstaff.urls"))`."""

from __future__ import annotations

from django.urls import path

from flagstaff.views import client_flags

__all__ = ["app_name", "urlpatterns"]

app_name = "flagstaff"
urlpatterns = [path("", client_flags, name="client_flags")]
